"""FastChat's names, as files of before 2024-11 have them: which template they are, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.data.template_names import template_names
from luthier.dialects.axolotl import AXOLOTL
from luthier.dialects.axolotl.conversations import OURS, OWN, SAME_TEXT, WITH_SYSTEM
from luthier.dialects.reading import Outcome


def read(keys: str) -> Any:
    head = "base_model: a/b\ndatasets:\n  - path: rows.jsonl\n    type: sharegpt\n"
    return AXOLOTL.read(head + keys, "old.yml", ())


@pytest.mark.parametrize(
    ("name", "template", "system"),
    [
        ("vicuna_v1.1", "vicuna", None),
        ("llama-2", "llama2", None),
        ("mistral", "mistral", None),
        ("chatml", "chatml", None),
        ("zero_shot", "fastchat/zero_shot", None),
        ("metharme", "metharme", None),
        ("qwen-7b-chat", "chatml", "You are a helpful assistant."),
    ],
)
def test_a_conversation_is_the_template_of_that_text(name: str, template: str, system: str | None) -> None:
    reading = read(f"    conversation: {name}\n")
    assert (reading.recipe.data.template, reading.recipe.data.system) == (template, system)


def test_a_system_message_of_the_file_comes_before_fastchats() -> None:
    reading = read("    conversation: orca-2\ndefault_system_message: Be brief.\n")
    assert (reading.recipe.data.template, reading.recipe.data.system) == ("chatml", "Be brief.")


def test_all_names_lead_to_templates_that_are_there() -> None:
    ours = [OURS.get(name, name) for name in SAME_TEXT] + [WITH_SYSTEM[name][0] for name in WITH_SYSTEM]
    assert {*ours, *(f"fastchat/{name}" for name in OWN)} <= set(template_names())
    assert {f"fastchat/{name}" for name in OWN} == {name for name in template_names() if name.startswith("fastchat/")}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vicuna_v1", "did you mean vicuna_v1.1?"),
        ("llama_2", "did you mean llama-2?"),
        ("one_shot", "'one_shot' is not there"),
        ("rwkv", "write chat_template_jinja: FILE.jinja"),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_the_nearest(name: str, said: str) -> None:
    account = next(one for one in read(f"    conversation: {name}\n").accounts if one.key == "datasets.0.conversation")
    assert account.outcome is Outcome.REFUSED and said in account.note


def test_a_conversation_without_a_dataset_that_uses_it_is_inert() -> None:
    keys = "base_model: a/b\ndatasets:\n  - path: rows.jsonl\n    type: alpaca\n    conversation: chatml\n"
    reading = AXOLOTL.read(keys, "old.yml", ())
    account = next(one for one in reading.accounts if one.key.endswith("conversation"))
    assert account.outcome is Outcome.INERT and reading.recipe.data.template == "alpaca"
