"""What a source of rows says goes into Axolotl's keys and comes back from them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from luthier.convert import convert
from luthier.dialects.axolotl.prompters import TYPES, settings_of
from luthier.dialects.document import load_yaml
from luthier.recipe.validate import parse
from luthier.registry import resolve

OTHER = {"path": "acme/b", "format": "messages"}
"""A second source, so that what one says is not said of all."""


def both(source: dict[str, Any], kind: str = "sft", **data: Any) -> tuple[dict[str, Any], list[str]]:
    """The keys of a source, and the settings of it that did not come back."""
    train = [{"path": "acme/a", **source}, OTHER]
    tree = {"model": {"path": "acme/m"}, "data": {"train": train, **data}, "method": {"kind": kind}}
    recipe = parse(json.loads(json.dumps(tree)), lambda path: "here")
    written = convert(recipe, "axolotl")
    again = resolve("dialects", "axolotl").read(written.text, "file", ()).recipe.data.train[0]
    lost = [name for name, value in recipe.data.train[0] if getattr(again, name) != value]
    assert {f"data.train.0.{name}" for name in lost} <= {
        ".".join(one.setting.split(".")[:4]) for one in written.missing
    }
    keys: dict[str, Any] = load_yaml(written.text, "file", version="1.1").value["datasets"][0]
    return keys, lost


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ({"files": ["a.jsonl", "b.jsonl"]}, {"data_files": ["a.jsonl", "b.jsonl"]}),
        (
            {"turns": {"role": "from", "content": "value", "reasoning_content": "why"}},
            {"message_property_mappings": {"role": "from", "content": "value", "reasoning_content": "why"}},
        ),
        ({"turns": {"trained": "learn"}}, {"message_field_training": "learn"}),
        ({"turns": {"trained_parts": "parts"}}, {"message_field_training_detail": "parts"}),
        (
            {"roles": {"user": ["asker"], "tool": ["shell", "api"]}},
            {"roles": {"user": ["asker"], "tool": ["shell", "api"]}},
        ),
        ({"train_on": ["user", "assistant"]}, {"roles_to_train": ["user", "assistant"]}),
        ({"train_on_eos": "last"}, {"train_on_eos": "last"}),
        ({"drop_system": True}, {"drop_system_message": True}),
        ({"split_thinking": True}, {"split_thinking": True}),
        (
            {"columns": {"messages": "talk", "tools": "functions"}},
            {"field_messages": "talk", "field_tools": "functions"},
        ),
        (
            {"format": "text", "control_tokens": "control", "columns": {"text": "body"}},
            {"type": "completion", "field": "body"},
        ),
        ({"format": "input_output"}, {"type": "input_output"}),
        ({"format": "auto", "rows": 10, "name": "small"}, {"split": "train[:10]", "name": "small"}),
    ],
    ids=str,
)
def test_a_setting_of_a_source_has_its_key(source: dict[str, Any], keys: dict[str, Any]) -> None:
    kind: dict[str, Any] = {"format": "messages"} | source
    found, lost = both(kind if kind["format"] != "messages" else {"turn_ends": ["eos_token"], **kind})
    assert lost == []
    assert found.items() >= keys.items() and keys.keys() | {"path", "type"} >= found.keys()


@pytest.mark.parametrize("name", TYPES)
def test_a_text_that_stood_in_axolotls_code_has_its_name_again(name: str) -> None:
    source: dict[str, Any] = {}
    for key, value in settings_of(TYPES[name], "source", alpaca=False).items():
        _, *above, last = key.split(".")
        inner = source
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = value
    found, lost = both(source, template="chatml")
    assert lost == []
    if isinstance(found["type"], str):
        assert TYPES[found["type"]] == TYPES[name]
    else:
        assert TYPES[name].format == "alpaca"


def test_a_text_of_ones_own_is_written_out() -> None:
    prompt = {
        "format": "Q {x} {instruction} {input}\nA:",
        "no_input_format": "Q {instruction}\nA:",
        "system": "Be brief.",
        "system_format": "S {system}\n",
    }
    source = {"format": "alpaca", "prompt": prompt, "columns": {"instruction": "q", "output": "a"}}
    found, lost = both(source)
    assert lost == []
    assert found["type"] == {
        "format": "Q {{x}} {instruction} {input}\nA:",
        "no_input_format": "Q {instruction}\nA:",
        "system_prompt": "Be brief.",
        "system_format": "S {system}\n",
        "field_instruction": "q",
        "field_output": "a",
    }


def test_rows_without_input_have_the_same_text_though_it_is_said_otherwise() -> None:
    found, lost = both({"format": "alpaca", "prompt": {"format": "{instruction}|{input}|"}})
    assert lost == ["prompt"] and found["type"]["no_input_format"] == "{instruction}||"


@pytest.mark.parametrize(
    ("kind", "form"), [("dpo", "pairs"), ("orpo", "pairs"), ("kto", "labelled"), ("reward", "pairs")]
)
def test_judged_rows_have_their_columns(kind: str, form: str) -> None:
    columns = {"prompt": "ask"} if form == "labelled" else {"prompt": "ask", "chosen": "good", "rejected": "bad"}
    found, lost = both({"format": form, "columns": columns}, kind)
    assert lost == [] and found["type"] == "chat_template" and found["field_messages"] == "ask"


def test_judged_rows_may_have_a_text_of_their_own() -> None:
    prompt = {"format": "<u>{instruction}", "answer": "<a>{output}", "system_format": ""}
    found, lost = both({"format": "pairs", "prompt": prompt, "columns": {"prompt": "ask", "chosen": "good"}}, "dpo")
    assert lost == []
    assert found["type"] == {
        "prompt_format": "<u>{prompt}",
        "chosen_format": "<a>{chosen}",
        "rejected_format": "<a>{rejected}",
        "completion_format": "<a>{completion}",
        "field_prompt": "ask",
        "field_chosen": "good",
    }
