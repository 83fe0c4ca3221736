"""What a recipe says of its rows and templates goes into Axolotl's keys, and means the same when it is read again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from luthier.convert import convert
from luthier.dialects.document import load_yaml
from luthier.recipe import Recipe
from luthier.recipe.validate import parse
from luthier.registry import resolve


def there_and_back(data: dict[str, Any]) -> tuple[dict[str, Any], Recipe, Recipe]:
    """The file's keys, the recipe that was written and the one that was read."""
    tree = {"model": {"path": "acme/m"}, "data": data}
    recipe = parse(json.loads(json.dumps(tree)), lambda path: "here")
    written = convert(recipe, "axolotl")
    again = resolve("dialects", "axolotl").read(written.text, "file", ()).recipe
    keys: dict[str, Any] = load_yaml(written.text, "file", version="1.1").value
    return keys, recipe, again


TALK = {"path": "acme/a", "format": "messages"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("auto", "tokenizer_default"),
        ("auto/llama3", "tokenizer_default_fallback_llama3"),
        ("auto/phi3", "tokenizer_default_fallback_phi_35"),
        ("chatml", "chatml"),
        ("llama3", "llama3"),
        ("gemma", "gemma"),
        ("qwen3", "qwen3"),
        ("phi3", "phi_35"),
    ],
)
def test_a_template_has_its_name_there(ours: str, theirs: str) -> None:
    keys, recipe, again = there_and_back({"train": [TALK], "template": ours})
    assert keys.get("chat_template", "tokenizer_default") == theirs
    assert again.data.template == recipe.data.template == ours


def test_a_template_that_is_not_there_is_not_written() -> None:
    keys, _, _ = there_and_back({"train": [TALK], "template": "deepseek_r1"})
    assert "chat_template" not in keys


def test_words_of_the_template_are_written() -> None:
    words = {"enable_thinking": False, "mood": "terse"}
    keys, _, again = there_and_back({"train": [TALK], "template": "qwen3", "template_arguments": words})
    assert keys["chat_template_kwargs"] == words == again.data.template_arguments


@pytest.mark.parametrize(
    ("template", "turn_ends", "eot_tokens"),
    [
        ("llama3", [], ["<|eot_id|>"]),
        ("phi3", [], ["<|end|>"]),
        ("auto", [], None),
        ("auto", ["eos_token"], None),
        ("chatml", ["eos_token"], None),
        ("auto", ["<|stop|>", "eos_token"], ["<|stop|>"]),
    ],
)
def test_what_ends_a_turn_is_named_where_it_is_known(
    template: str, turn_ends: list[str], eot_tokens: list[str] | None
) -> None:
    keys, _, again = there_and_back({"train": [{**TALK, "turn_ends": turn_ends}], "template": template})
    assert keys.get("eot_tokens") == eot_tokens
    assert again.data.train[0].turn_ends == (*(eot_tokens or []), "eos_token")
