"""Templates that are built turn by turn: the pieces of every rule, tokenised apart, and which of them are learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message, Row
from luthier.data.formats.alpaca import read
from luthier.data.template_names import template_source
from luthier.data.turn_format import formats
from luthier.errors import TemplateError
from tests.data.made import make_tokenizer, talk, template_of, text_of_spans, tokens_of
from tests.data.spaced import make_spaced_tokenizer

Pieces = Sequence[tuple[str, bool]]

SPECIAL = (
    *("<unk>", "<s>", "</s>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<|im_start|>", "<|im_end|>"),
    *("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "[gMASK]", "sop"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
)
TEXTS = ["Where is the mill? The mill is here.", "user assistant system model philosophy", "问：你好 答："]
ONE = talk(("user", " Hi?\n"), ("assistant", "\tYes. "))
TWO = talk(("system", " Be brief. "), ("user", "Hi?"), ("assistant", "Yes."), ("user", "So?"), ("assistant", "No."))


@pytest.fixture(scope="module")
def spaced(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """Its ``<s>`` comes before every text, and a space before every piece of one."""
    return Encoder.open(make_spaced_tokenizer(tmp_path_factory.mktemp("spaced"), SPECIAL, [*TEXTS, "philosophy"]))


def expected(pieces: Pieces, encoder: Encoder) -> tuple[list[int], list[bool]]:
    """Ids and mask of the pieces, each put through the bare tokenizer by itself."""
    ids: list[int] = []
    mask: list[bool] = []
    for text, learned in pieces:
        new = encoder.tokenizer.encode(text, add_special_tokens=False).ids
        ids += new
        mask += [learned] * len(new)
    return ids, mask


def assert_pieces(name: str, example: Example, encoder: Encoder, pieces: Pieces, **settings: Any) -> None:
    spans = template_of(name, encoder, **settings).spans(example)
    assert text_of_spans(spans) == "".join(text for text, _ in pieces)
    tokens = tokens_of(spans, encoder)
    assert (tokens.ids.tolist(), tokens.trained.tolist()) == expected(pieces, encoder)


ASK_QWEN = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
ASK_LLAMA3 = "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.\n"
)
GLM = (
    "You are ChatGLM3, a large language model trained by Zhipu.AI. Follow the user's instructions carefully. "
    "Respond using markdown."
)
RULES: dict[str, tuple[Pieces, Pieces]] = {
    "firefly/qwen": (
        [
            ("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n", False),
            (ASK_QWEN.format("Hi?"), False),
            ("Yes.<|im_end|>\n", True),
        ],
        [
            ("<|im_start|>system\nBe brief.<|im_end|>\n", False),
            (ASK_QWEN.format("Hi?"), False),
            ("Yes.<|im_end|>\n", True),
            (ASK_QWEN.format("So?"), False),
            ("No.<|im_end|>\n", True),
        ],
    ),
    "firefly/llama3": (
        [(ASK_LLAMA3.format("Hi?"), False), ("Yes.<|eot_id|>", True)],
        [
            ("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>", False),
            (ASK_LLAMA3.format("Hi?"), False),
            ("Yes.<|eot_id|>", True),
            (ASK_LLAMA3.format("So?"), False),
            ("No.<|eot_id|>", True),
        ],
    ),
    "firefly/mistral": (
        [("<s>", False), ("[INST]Hi?[/INST]", False), ("Yes.</s>", True)],
        [
            ("<s>", False),
            ("[INST]Hi?[/INST]", False),
            ("Yes.</s>", True),
            ("[INST]So?[/INST]", False),
            ("No.</s>", True),
        ],
    ),
    "firefly/gemma": (
        [
            ("<bos>", False),
            ("<start_of_turn>user\nHi?<end_of_turn>\n<start_of_turn>model\n", False),
            ("Yes.<eos>\n", True),
        ],
        [
            ("<bos>", False),
            ("<start_of_turn>user\nHi?<end_of_turn>\n<start_of_turn>model\n", False),
            ("Yes.<eos>\n", True),
            ("<start_of_turn>user\nSo?<end_of_turn>\n<start_of_turn>model\n", False),
            ("No.<eos>\n", True),
        ],
    ),
    "firefly/vicuna": (
        [(VICUNA, False), ("USER: Hi? ASSISTANT:", False), ("Yes.</s>", True)],
        [
            ("Be brief.\n", False),
            ("USER: Hi? ASSISTANT:", False),
            ("Yes.</s>", True),
            ("USER: So? ASSISTANT:", False),
            ("No.</s>", True),
        ],
    ),
    "firefly/default": (
        [("User: Hi?\nAssistant: ", False), ("Yes. </s>", True)],
        [
            ("System: Be brief.\n\n", False),
            ("User: Hi?\nAssistant: ", False),
            ("Yes. </s>", True),
            ("User: So?\nAssistant: ", False),
            ("No. </s>", True),
        ],
    ),
    "firefly/chatglm2": (
        [
            ("[gMASK]", False),
            ("sop", False),
            ("[Round 1]\n\n问：Hi?\n\n答：", False),
            ("Yes.", True),
            ("</s>", True),
        ],
        [
            ("[gMASK]", False),
            ("sop", False),
            ("[Round 1]\n\n问：Hi?\n\n答：", False),
            ("Yes.", True),
            ("</s>", True),
            ("[Round 2]\n\n问：So?\n\n答：", False),
            ("No.", True),
            ("</s>", True),
        ],
    ),
    "firefly/chatglm3": (
        [
            *((token, False) for token in ("[gMASK]", "sop", "<|system|>", GLM, "<|user|>", "Hi?", "<|assistant|>")),
            ("Yes.", True),
            ("</s>", True),
        ],
        [
            *(
                (token, False)
                for token in ("[gMASK]", "sop", "<|system|>", "Be brief.", "<|user|>", "Hi?", "<|assistant|>")
            ),
            ("Yes.", True),
            ("</s>", True),
            *((token, False) for token in ("<|user|>", "So?", "<|assistant|>")),
            ("No.", True),
            ("</s>", True),
        ],
    ),
    "firefly/untemplated": (
        [("<s>", False), (" Hi?\n", False), ("</s>", False), ("\tYes. ", True), ("</s>", True)],
        [
            ("<s>", False),
            *(("Hi?", False), ("</s>", False), ("Yes.", True), ("</s>", True)),
            *(("So?", False), ("</s>", False), ("No.", True), ("</s>", True)),
        ],
    ),
    "chatglm3": (
        [
            *((token, False) for token in ("[gMASK]", "sop", "<|user|>", "\n", " Hi?\n", "<|assistant|>")),
            *(("\n", True), ("\tYes. ", True), ("</s>", True)),
        ],
        [
            *((token, False) for token in ("[gMASK]", "sop", "<|system|>", "\n", " Be brief. ")),
            *((token, False) for token in ("<|user|>", "\n", "Hi?", "<|assistant|>")),
            *(("\n", True), ("Yes.", True), ("<|user|>", True)),
            *((token, False) for token in ("\n", "So?", "<|assistant|>")),
            *(("\n", True), ("No.", True), ("</s>", True)),
        ],
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_ids_and_masks_are_those_of_the_rules(spaced: Encoder, name: str) -> None:
    first, second = RULES[name]
    assert_pieces(name, ONE, spaced, first)
    assert_pieces(name, TWO, spaced, second)


def test_llama2_has_its_system_text_outside_the_question_and_no_beginning(spaced: Encoder) -> None:
    pieces = [
        ("<<SYS>>\nBe brief.\n<</SYS>>\n\n", False),
        ("[INST]Hi?[/INST]", False),
        ("Yes. </s>", True),
        ("[INST]So?[/INST]", False),
        ("No. </s>", True),
    ]
    assert_pieces("firefly/llama2", TWO, spaced, pieces)
    default = text_of_spans(template_of("firefly/llama2", spaced).spans(ONE))
    assert default.startswith("<<SYS>>\nYou are a helpful, respectful and honest assistant. Always answer")
    assert default.endswith("please don't share false information.\n<</SYS>>\n\n[INST]Hi?[/INST]Yes. </s>")


def test_all_of_fireflys_names_are_there() -> None:
    plain = "default internlm internlm2 qwen yi orion deepseek chatglm2 chatglm3 ziya2 xverse minicpm minicpm3 zephyr"
    others = "mistral mixtral baichuan baichuan2 vicuna llama2 llama3 gemma phi3 untemplated"
    ours = {name.removeprefix("firefly/") for name in formats() if name.startswith("firefly/")}
    assert ours == {*plain.split(), *others.split()}


# Alpaca.

NO_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nAdd.\n\n### Response:\n"
)
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n"
    "### Instruction:\nAdd.\n\n### Input:\n1+1\n\n### Response:\n"
)


@pytest.mark.parametrize(("given", "prompt"), [("", NO_INPUT), ("1+1", WITH_INPUT)])
@pytest.mark.parametrize("roles", [("assistant",), ("user", "assistant")])
def test_alpaca_is_stanfords_prompt_and_the_answer_apart(
    spaced: Encoder, given: str, prompt: str, roles: tuple[str, ...]
) -> None:
    example = read(Row("d:1", {"instruction": "Add.", "input": given, "output": "2"}))
    pieces = [("<s>", False), (prompt, "user" in roles), ("2", True), ("</s>", True)]
    assert_pieces("alpaca", example, spaced, pieces, train_on=roles)


def test_alpaca_begins_with_what_the_tokenizer_puts_before_a_text(tmp_path: Path) -> None:
    encoder = Encoder.open(make_tokenizer(tmp_path, bos_token="<s>"))
    example = read(Row("d:1", {"instruction": "Add.", "output": "2"}))
    assert_pieces("alpaca", example, encoder, [(NO_INPUT, False), ("2", True), ("</s>", True)])


def test_a_system_message_takes_the_place_of_alpacas_preamble(spaced: Encoder) -> None:
    text = text_of_spans(template_of("alpaca", spaced).spans(TWO))
    first = "<s> Be brief. \n\n### Instruction:\nHi?\n\n### Response:\nYes.</s>"
    assert text == first + "\n\n### Instruction:\nSo?\n\n### Response:\nNo.</s>"


def test_other_templates_have_the_input_after_a_blank_line(encoder: Encoder) -> None:
    example = read(Row("d:1", {"instruction": "Add.", "input": "1+1", "output": "2"}))
    assert "user\nAdd.\n\n1+1<|im_end|>" in text_of_spans(template_of("chatml", encoder).spans(example))


# Tools, and which turns are learned.

CALL = {"type": "function", "function": {"name": "find", "arguments": {"who": "Mira's", "near": 2, "wide": True}}}
USED = Example(
    (
        Message("user", "Where is Mira?"),
        Message("assistant", "I look.", None, (CALL,)),
        Message("tool", '{"at": "mill"}'),
        Message("assistant", "In the mill."),
    ),
    "t:1",
    tools=({"name": "find", "description": "找人"},),
)


def test_chatglm3_calls_tools_as_python_does(spaced: Encoder) -> None:
    listed = (
        "Answer the following questions as best as you can. You have access to the following tools:\n"
        '[\n    {\n        "name": "find",\n        "description": "找人"\n    }\n]'
    )
    called = '```python\ntool_call(who="Mira\'s", near=2, wide=True)\n```'
    pieces = [
        *((text, False) for text in ("[gMASK]", "sop", "<|system|>", "\n", listed)),
        *((text, False) for text in ("<|user|>", "\n", "Where is Mira?", "<|assistant|>")),
        *((text, True) for text in ("\n", "I look.", "<|assistant|>", "find\n", called, "<|observation|>")),
        *((text, False) for text in ("\n", '{"at": "mill"}', "<|assistant|>")),
        *((text, True) for text in ("\n", "In the mill.", "</s>")),
    ]
    assert_pieces("chatglm3", USED, spaced, pieces)


def test_only_the_last_answer_is_learned_on_demand(spaced: Encoder) -> None:
    first, second = RULES["chatglm3"]
    assert_pieces("chatglm3", ONE, spaced, first, last_turn_only=True)
    late = [(text, flag and number > len(second) - 4) for number, (text, flag) in enumerate(second)]
    assert_pieces("chatglm3", TWO, spaced, late, last_turn_only=True)


def test_a_turn_speaks_for_itself(spaced: Encoder) -> None:
    messages = (Message("user", "Hi?", True), Message("assistant", "Yes.", False))
    pieces = [
        *(("[gMASK]", False), ("sop", False), ("<|user|>", False)),
        *(("\n", True), ("Hi?", True), ("<|assistant|>", True)),
        *(("\n", False), ("Yes.", False), ("</s>", False)),
    ]
    assert_pieces("chatglm3", Example(messages, "t:1"), spaced, pieces)


def test_the_recipes_system_message_is_before_the_templates(spaced: Encoder) -> None:
    template = template_of("firefly/qwen", spaced, system="Given.")
    assert text_of_spans(template.spans(ONE)).startswith("<|im_start|>system\nGiven.<|im_end|>\n<|im_start|>user")
    with pytest.raises(TemplateError, match="firefly/phi3 has no place for a system message"):
        template_of("firefly/phi3", spaced, system="Given.")


# Control tokens in data are data.


@pytest.mark.parametrize("name", ["firefly/qwen", "firefly/chatglm3", "chatglm3", "alpaca", "firefly/mistral"])
@pytest.mark.parametrize("nasty", ["<|im_end|>", "a</s>b", "<|user|>", "[gMASK]sop", "<s>[INST]x[/INST]</s>"])
def test_control_tokens_in_a_text_never_become_control_ids(spaced: Encoder, name: str, nasty: str) -> None:
    def counts(said: str) -> dict[str, int]:
        example = talk(("system", said), ("user", said), ("assistant", said))
        ids = tokens_of(template_of(name, spaced).spans(example), spaced).ids.tolist()
        return {token: ids.count(spaced.tokenizer.token_to_id(token)) for token in SPECIAL[1:]}

    assert counts(nasty) == counts("fine")
    template = template_of(name, spaced)
    texts = [text_of_spans(template.spans(talk(("user", said), ("assistant", said)))) for said in (nasty, "@@")]
    assert texts[0] == texts[1].replace("@@", nasty)


def test_a_text_around_a_control_token_gets_no_space_there(spaced: Encoder) -> None:
    tokens = tokens_of(template_of("firefly/qwen", spaced).spans(talk(("user", "a</s>b"), ("assistant", "c"))), spaced)
    assert "a</s>b<|im_end|>" in spaced.decode(tokens.ids.tolist(), skip_control=False)


def test_a_word_that_holds_a_control_token_keeps_its_ids(spaced: Encoder) -> None:
    assert "sop" in spaced.control
    word = spaced.encode(["philosophy"], literal=True)[0]
    tokens = tokens_of(template_of("chatglm3", spaced).spans(talk(("user", "a"), ("assistant", "philosophy"))), spaced)
    assert tokens.ids[tokens.trained].tolist()[-len(word) - 1 : -1] == word


# What is refused.


@pytest.mark.parametrize(
    ("name", "example", "reason"),
    [
        ("firefly/qwen", talk(("user", "a"), ("user", "b")), "turn 2 is the user's"),
        ("firefly/qwen", talk(("assistant", "a")), "turn 1 is the assistant's"),
        ("firefly/qwen", talk(("user", "a"), ("assistant", "b"), ("system", "c")), "turn 3 is the system's"),
        ("alpaca", talk(("user", "a"), ("tool", "b")), "alpaca has no place for the role 'tool'"),
        ("firefly/qwen", USED, "no place for tools"),
        ("alpaca", Example(USED.messages, "t:1"), "no place for the calls of turn 2"),
        (
            "chatglm3",
            Example((Message("assistant", "", None, ({"function": {"name": "f", "arguments": "{}"}},)),), "t:1"),
            "a call has no function with arguments by name",
        ),
    ],
)
def test_a_conversation_that_the_format_cannot_hold_is_refused(
    spaced: Encoder, name: str, example: Example, reason: str
) -> None:
    with pytest.raises(TemplateError, match=reason) as caught:
        template_of(name, spaced).spans(example)
    assert caught.value.faults[0].place == example.origin and caught.value.faults[0].remedy


def test_a_generated_template_that_somebody_changed_is_ordinary_jinja(spaced: Encoder) -> None:
    source = template_source("firefly/qwen", spaced)
    changed = source.replace("helpful assistant", "helpful mill")
    assert source != changed
    spans = template_of(changed, spaced).spans(talk(("user", "Hi?"), ("assistant", "Yes.")))
    assert not any(span.apart for span in spans) and "helpful mill" in text_of_spans(spans)
    assert [span.text for span in spans if span.trained] == ["Yes.<|im_end|>"]
