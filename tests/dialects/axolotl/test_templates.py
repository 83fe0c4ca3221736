"""Names of chat templates: those that are there have the text that Axolotl's have."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import Environment

import luthier.data
from luthier.dialects.axolotl.templates import SAME, template_named
from luthier.dialects.reading import Outcome

TURNS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Bye"},
    {"role": "assistant", "content": "Ciao"},
]

TEXTS = {
    "chatml": (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
        "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\nCiao<|im_end|>\n"
    ),
    "llama3": (
        "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
        "Hello<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nCiao<|eot_id|>"
    ),
    "gemma": (
        "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"
        "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\nCiao<end_of_turn>\n"
    ),
}
"""What Axolotl's templates write of ``TURNS``."""


@pytest.mark.parametrize("name", SAME)
def test_a_template_of_the_same_name_has_the_same_text(name: str) -> None:
    effect = template_named(name)
    assert (effect.outcome, effect.settings) == (Outcome.APPLIED, {"data.template": name})
    source = (Path(luthier.data.__file__).parent / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
    made = Environment(trim_blocks=True, lstrip_blocks=True).from_string(source)
    assert made.render(messages=TURNS, bos_token="<s>", eos_token="</s>") == TEXTS[name]


@pytest.mark.parametrize(
    ("name", "outcome", "said"),
    [
        ("tokenizer_default", Outcome.APPLIED, ""),
        ("tokenizer_default_fallback_chatml", Outcome.APPLIED, "or chatml where it has none"),
        ("tokenizer_default_fallback_llama3", Outcome.APPLIED, "takes the place of llama3"),
        ("jinja", Outcome.REPLACED, "chat_template_jinja"),
        ("phi_3", Outcome.REFUSED, "chat_template_jinja: FILE.jinja"),
    ],
)
def test_other_names(name: str, outcome: Outcome, said: str) -> None:
    effect = template_named(name)
    assert effect.outcome is outcome and said in effect.note
    assert effect.settings == ({"data.template": "auto"} if outcome is Outcome.APPLIED else {})
