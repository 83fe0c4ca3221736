"""Names of chat templates: those that are there have the text that Axolotl's have."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import Environment

import luthier.data
from luthier.dialects.axolotl.templates import OURS, SAME, template_named
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
    "phi_35": ("<|user|>\nHi<|end|>\n<|assistant|>\nHello<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\nCiao<|end|>\n"),
    "qwen3": (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
        "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nCiao<|im_end|>\n"
    ),
}
"""What Axolotl's templates write of ``TURNS``."""


@pytest.mark.parametrize("name", SAME)
def test_a_template_that_stands_for_another_has_the_same_text(name: str) -> None:
    effect = template_named(name)
    ours = OURS.get(name, name)
    assert (effect.outcome, effect.settings) == (Outcome.APPLIED, {"data.template": ours})
    source = (Path(luthier.data.__file__).parent / "templates" / f"{ours}.jinja").read_text(encoding="utf-8")
    made = Environment(trim_blocks=True, lstrip_blocks=True).from_string(source)
    assert made.render(messages=TURNS, bos_token="<s>", eos_token="</s>") == TEXTS[name]


@pytest.mark.parametrize(
    ("name", "outcome", "said"),
    [
        ("tokenizer_default", "auto", ""),
        ("tokenizer_default_fallback_chatml", "auto/chatml", ""),
        ("tokenizer_default_fallback_phi_35", "auto/phi3", ""),
        ("tokenizer_default_fallback_gemma", "auto/gemma", "a system turn"),
        ("tokenizer_default_fallback_jamba", "auto", "jamba is not there for one that has none"),
        ("jinja", Outcome.REPLACED, "chat_template_jinja"),
        ("phi_3", Outcome.REFUSED, "chat_template_jinja: FILE.jinja"),
    ],
)
def test_other_names(name: str, outcome: Outcome | str, said: str) -> None:
    effect = template_named(name)
    assert said in effect.note
    if isinstance(outcome, Outcome):
        assert (effect.outcome, effect.settings) == (outcome, {})
    else:
        assert (effect.outcome, effect.settings) == (Outcome.APPLIED, {"data.template": outcome})
