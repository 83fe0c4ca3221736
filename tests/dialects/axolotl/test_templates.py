"""Names of chat templates: those that are there have the text that Axolotl's have."""

from __future__ import annotations

import pytest
from jinja2 import Environment

from luthier.data.encoder import Encoder
from luthier.data.template_names import template_source
from luthier.dialects.axolotl.templates import OURS, SAME, template_named
from luthier.dialects.reading import Outcome
from tests.data.made import make_tokenizer

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
    "mistral_v1": "<s> [INST] Hi [/INST] Hello</s> [INST] Bye [/INST] Ciao</s>",
    "deepseek_v2": "<s><｜User｜>Hi<｜Assistant｜>Hello</s><｜User｜>Bye<｜Assistant｜>Ciao</s>",
    "exaone": (
        "[|system|][|endofturn|]\n[|user|]Hi\n[|assistant|]Hello[|endofturn|]\n"
        "[|user|]Bye\n[|assistant|]Ciao[|endofturn|]\n"
    ),
    "llama4": (
        "<s><|header_start|>user<|header_end|>\n\nHi<|eot|><|header_start|>assistant<|header_end|>\n\nHello<|eot|>"
        "<|header_start|>user<|header_end|>\n\nBye<|eot|><|header_start|>assistant<|header_end|>\n\nCiao<|eot|>"
    ),
    "cohere": (
        "<s><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Hello<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Bye<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Ciao<|END_OF_TURN_TOKEN|>"
    ),
    "phi_4": (
        "<|im_start|>user<|im_sep|>Hi<|im_end|><|im_start|>assistant<|im_sep|>Hello<|im_end|>"
        "<|im_start|>user<|im_sep|>Bye<|im_end|><|im_start|>assistant<|im_sep|>Ciao<|im_end|>"
    ),
}
TEXTS |= {
    "qwen3_5": TEXTS["qwen3"],
    "qwen_25": (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        + TEXTS["chatml"]
    ),
    "gemma3": TEXTS["gemma"],
    "gemma3n": TEXTS["gemma"],
    "falcon_h1": "<s>" + TEXTS["chatml"],
    "phi_3": "<s>" + TEXTS["phi_35"],
    "aya": TEXTS["cohere"],
    "mistral_v2v3": "<s>[INST] Hi[/INST] Hello</s>[INST] Bye[/INST] Ciao</s>",
    "mistral_v3_tekken": "<s>[INST]Hi[/INST]Hello</s>[INST]Bye[/INST]Ciao</s>",
    "alpaca": (
        "<s>### Instruction:\nHi\n\n### Response:\nHello</s>\n\n### Instruction:\nBye\n\n### Response:\nCiao</s>"
    ),
    "metharme": (
        "<s><|system|>Enter RP mode. You shall reply to the user while staying in character. Your responses must be "
        "detailed, creative, immersive, and drive the scenario forward."
        "<|user|>Hi<|model|>Hello<|user|>Bye<|model|>Ciao</s>"
    ),
    "jamba": (
        "<|startoftext|><|bom|><|system|> <|eom|><|bom|><|user|> Hi<|eom|><|bom|><|assistant|> Hello<|eom|>"
        "<|bom|><|user|> Bye<|eom|><|bom|><|assistant|> Ciao<|eom|>"
    ),
    "deepseek_v3": (
        "<s><｜User｜>Hi<｜Assistant｜>Hello<｜end▁of▁sentence｜><｜User｜>Bye<｜Assistant｜>Ciao<｜end▁of▁sentence｜>"
    ),
    "gemma4": (
        "<s><|turn>user\nHi<turn|>\n<|turn>model\nHello<turn|>\n<|turn>user\nBye<turn|>\n<|turn>model\nCiao<turn|>\n"
    ),
}
TEXTS |= {"gemma4_unified": TEXTS["gemma4"], "nemotron_h": TEXTS["chatml"]}
"""What Axolotl's templates write of ``TURNS``; of phi_4, behind its long system message."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.open(make_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.mark.parametrize("name", SAME)
def test_a_template_that_stands_for_another_has_the_same_text(name: str, encoder: Encoder) -> None:
    effect = template_named(name)
    ours = OURS.get(name, name)
    assert (effect.outcome, effect.settings) == (Outcome.APPLIED, {"data.template": ours})
    source = template_source(ours, encoder)
    made = Environment(trim_blocks=True, lstrip_blocks=True).from_string(source)
    text = made.render(messages=TURNS, bos_token="<s>", eos_token="</s>")
    if name == "phi_4":
        assert text.startswith("<|im_start|>system<|im_sep|>You are Phi, ")
        text = text.partition("<|im_end|>")[2]
    assert text == TEXTS[name]


@pytest.mark.parametrize(
    ("name", "outcome", "said"),
    [
        ("tokenizer_default", "auto", ""),
        ("tokenizer_default_fallback_chatml", "auto/chatml", ""),
        ("tokenizer_default_fallback_phi_35", "auto/phi3", ""),
        ("tokenizer_default_fallback_gemma", "auto/gemma", "a system turn"),
        ("tokenizer_default_fallback_gemma3", "auto/gemma", ""),
        ("tokenizer_default_fallback_jamba", "auto/jamba", ""),
        ("tokenizer_default_fallback_llava", "auto", "llava is not there for one that has none"),
        ("jinja", Outcome.REPLACED, "chat_template_jinja"),
        ("command_a", Outcome.REFUSED, "chat_template_jinja: FILE.jinja"),
        ("gema4", Outcome.REFUSED, "did you mean gemma4?"),
    ],
)
def test_other_names(name: str, outcome: Outcome | str, said: str) -> None:
    effect = template_named(name)
    assert said in effect.note
    if isinstance(outcome, Outcome):
        assert (effect.outcome, effect.settings) == (outcome, {})
    else:
        assert (effect.outcome, effect.settings) == (Outcome.APPLIED, {"data.template": outcome})
