"""Every named template with every kind of conversation: training ids are those of the prompt and then the answer's.

Where a template has no place for a kind, it refuses the conversation, or leaves the system message out as Firefly did.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.template import ChatTemplate
from luthier.data.template_names import missing_tokens, template_names, template_source
from luthier.errors import TemplateError
from luthier.evaluate.generate import prompt_ids, stop_ids
from luthier.model.tokenizer import write_tokenizer
from tests.data.made import learned, make_tokenizer, talk, template_of, text_of_spans, tokens_of
from tests.data.spaced import make_spaced_tokenizer

CALL = {"id": "call00001", "type": "function", "function": {"name": "find", "arguments": {"who": "Mira", "near": 2}}}
LISTED = {"type": "function", "function": {"name": "find", "description": "找人", "parameters": {"who": "string"}}}
PLAIN = talk(("user", "Where is Mira?"), ("assistant", "Here."))
SYSTEM = replace(PLAIN, messages=(Message("system", "Be brief."), *PLAIN.messages))
TURNS = replace(SYSTEM, messages=(*SYSTEM.messages, Message("user", "And Tom?"), Message("assistant", "There.")))
TOOLS = Example(
    (
        Message("user", "Where is Mira?"),
        Message("assistant", "", None, (CALL,)),
        Message("tool", '{"at": "mill"}', fields={"tool_call_id": "call00001"}),
        Message("assistant", "In the mill."),
    ),
    "t:1",
    tools=(LISTED,),
)
THOUGHT = Message("assistant", "In the mill.", fields={"reasoning_content": "She grinds.\nSo there."})
THINKING = Example((PLAIN.messages[0], replace(THOUGHT, content="Here."), Message("user", "Now?"), THOUGHT), "t:2")
KINDS = {"plain": PLAIN, "system": SYSTEM, "turns": TURNS, "tools": TOOLS, "thinking": THINKING}

WITH_TOOLS = {
    *("chatglm3", "gemma4", "glm4", "jamba", "llama3_1", "llama4", "mistral_v2v3", "mistral_v3_tekken"),
    *("qwen", "qwen3", "qwen_25"),
}
WITH_THOUGHTS = {"deepseek_r1", "gemma4", "qwen3"}
WITHOUT_SYSTEM = {
    *("firefly/baichuan", "firefly/baichuan2", "firefly/chatglm2", "firefly/deepseek", "firefly/gemma"),
    *("firefly/minicpm", "firefly/mistral", "firefly/mixtral", "firefly/orion", "firefly/phi3"),
    *("firefly/untemplated", "firefly/xverse", "firefly/ziya2"),
}
NO_TERMINATOR = {"plain"}

CASES = [(name, kind) for name in template_names() for kind in KINDS]
CARRIED = [
    (name, kind)
    for name, kind in CASES
    if (kind != "tools" or name in WITH_TOOLS) and (kind != "thinking" or name in WITH_THOUGHTS)
]


@pytest.fixture(scope="module")
def special(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The control tokens of all templates."""
    bare = Encoder.open(make_tokenizer(tmp_path_factory.mktemp("bare"), special=("</s>",)))
    found = {token for name in template_names() for token in missing_tokens(name, bare)}
    return ["<unk>", "<s>", "</s>", *sorted(found - {"<unk>", "<s>", "</s>", "eos_token"})]


@pytest.fixture(scope="module", params=["byte-level", "spaced"])
def directory(request: pytest.FixtureRequest, special: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with the control tokens of every template: of GPT's kind, and of SentencePiece's."""
    folder = tmp_path_factory.mktemp("tokenizer")
    if request.param == "spaced":
        return make_spaced_tokenizer(folder, special, ["Where is the mill? The mill is here, user and assistant."])
    return make_tokenizer(folder, special=special, bos_token="<s>", around="<s> $A")


@cache
def opened(directory: Path) -> Encoder:
    return Encoder.open(directory)


def answered(template: ChatTemplate, example: Example, encoder: Encoder) -> tuple[list[int], list[int]]:
    """The ids of the prompt that generation begins from, and of the answer in training, which follow them."""
    whole = tokens_of(template.spans(example), encoder)
    prompt = prompt_ids(example, template, encoder)
    assert prompt == prompt_ids(replace(example, messages=example.messages[:-1]), template, encoder)
    assert whole.ids[: len(prompt)].tolist() == prompt
    learned = whole.trained[len(prompt) :]
    answer = whole.ids[len(prompt) :][learned].tolist()
    assert answer and learned[: len(answer)].all() and not learned[len(answer) :].any()
    return prompt, answer


@pytest.mark.parametrize(("name", "kind"), CARRIED)
def test_training_is_the_prompt_and_then_the_answer(directory: Path, name: str, kind: str) -> None:
    encoder, example = opened(directory), KINDS[kind]
    template = template_of(name, encoder)
    prompt, answer = answered(template, example, encoder)
    assert answered(template_of(name, encoder, last_turn_only=True), example, encoder) == (prompt, answer)
    said = encoder.decode(answer)
    assert example.messages[-1].content in said
    assert example.messages[-1].thought in said
    assert any(one in stop_ids(template, encoder) for one in answer)
    read = encoder.decode(prompt, skip_control=False)
    assert ("Be brief." in read) == (example.messages[0].role == "system" and name not in WITHOUT_SYSTEM)
    assert "In the mill." not in read and "grinds" not in read
    if kind == "tools":
        assert "找人" in read and read.count("find") > 1
        assert '{"at": "mill"}' in read.replace('\\"', '"')  # llama4 writes a result as a string of JSON


@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if case not in CARRIED])
def test_a_kind_without_a_place_is_refused(directory: Path, name: str, kind: str) -> None:
    template = template_of(name, opened(directory))
    with pytest.raises(TemplateError, match=r"place for|leaves out") as caught:
        template.spans(KINDS[kind])
    assert caught.value.faults[0].place == KINDS[kind].origin and caught.value.faults[0].remedy


@pytest.mark.parametrize(("name", "kind"), CARRIED)
def test_the_saved_template_writes_the_same_in_transformers(
    directory: Path, tmp_path: Path, name: str, kind: str
) -> None:
    encoder, example = opened(directory), KINDS[kind]
    template = template_of(name, encoder)
    write_tokenizer(directory, tmp_path, template.source)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)

    def theirs(messages: tuple[Message, ...], *, generate: bool) -> str:
        trees: list[dict[str, Any]] = [message.tree() for message in messages]
        text: str = tokenizer.apply_chat_template(
            trees, tools=list(example.tools) or None, tokenize=False, add_generation_prompt=generate
        )
        return text

    assert text_of_spans(template.spans(example)) == theirs(example.messages, generate=False)
    assert text_of_spans(template.prompt(example)) == theirs(example.messages[:-1], generate=True)


# Thoughts.

QWEN3 = (
    "<|im_start|>user\nWhere is Mira?<|im_end|>\n<|im_start|>assistant\nHere.<|im_end|>\n"
    "<|im_start|>user\nNow?<|im_end|>\n<|im_start|>assistant\n"
)
R1 = "<s><｜User｜>Where is Mira?<｜Assistant｜>Here.</s><｜User｜>Now?<｜Assistant｜><think>\n"
THOUGHTS = {
    "qwen3": (QWEN3, "<think>\nShe grinds.\nSo there.\n</think>\n\nIn the mill.<|im_end|>", ["Here.<|im_end|>"]),
    "deepseek_r1": (R1, "She grinds.\nSo there.\n</think>\n\nIn the mill.</s>", ["Here.</s>"]),
}


@pytest.mark.parametrize("name", THOUGHTS)
@pytest.mark.parametrize("inside", [False, True], ids=["apart", "in the content"])
def test_the_last_thought_is_learned_and_earlier_ones_are_left_out(directory: Path, name: str, inside: bool) -> None:
    prompt, answer, earlier = THOUGHTS[name]
    messages = THINKING.messages
    if inside:
        messages = tuple(
            Message(one.role, f"<think>\n{one.thought}\n</think>\n\n{one.content}" if one.thought else one.content)
            for one in messages
        )
    example, template = replace(THINKING, messages=messages), template_of(name, opened(directory))
    assert text_of_spans(template.prompt(example)) == prompt
    assert learned(template.spans(example)) == [*earlier, answer]


def test_a_thought_goes_on_over_the_calls_of_tools(directory: Path) -> None:
    thinks = {"reasoning_content": "I look."}
    messages = (
        Message("user", "Where is Mira?"),
        Message("assistant", "", None, (CALL,), fields=thinks),
        Message("tool", "mill"),
        Message("assistant", "In the mill.", fields={"reasoning_content": "Found."}),
    )
    called = '<tool_call>\n{"name": "find", "arguments": {"who": "Mira", "near": 2}}\n</tool_call><|im_end|>'
    template, example = template_of("qwen3", opened(directory)), Example(messages, "t:3", tools=(LISTED,))
    assert learned(template.spans(example)) == [
        f"<think>\nI look.\n</think>\n\n{called}",
        "<think>\nFound.\n</think>\n\nIn the mill.<|im_end|>",
    ]
    again = (*messages[:3], *messages[1:], Message("user", "Thanks."), Message("assistant", "Yes."))
    assert learned(template.spans(replace(example, messages=again))) == [
        called,
        called,
        "In the mill.<|im_end|>",
        "<think>\n\n</think>\n\nYes.<|im_end|>",
    ]


@pytest.mark.parametrize("name", ["qwen3", "auto"])
def test_thinking_can_be_switched_off(directory: Path, tmp_path: Path, name: str) -> None:
    encoder, off = opened(directory), {"enable_thinking": False}
    if name == "auto":
        write_tokenizer(directory, tmp_path, template_source("qwen3", encoder))
        encoder = Encoder.open(tmp_path)
    template = ChatTemplate(template_source(name, encoder, off), encoder)
    assert text_of_spans(template.prompt(PLAIN)).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert learned(template.spans(TURNS)) == ["Here.<|im_end|>", "There.<|im_end|>"]
    answered(ChatTemplate(template.source, encoder, last_turn_only=True), TURNS, encoder)
    with pytest.raises(TemplateError, match="rendering turn 4 changes"):
        template.spans(THINKING)
    write_tokenizer(directory, tmp_path, template.source)
    assert Encoder.open(tmp_path).chat_template == template.source


@pytest.mark.parametrize(("name", "words"), [("chatml", "enable_thinking"), ("firefly/qwen", "messages")])
def test_words_that_a_template_does_not_read_are_refused(directory: Path, name: str, words: str) -> None:
    with pytest.raises(TemplateError, match=f"does not read {words}"):
        template_source(name, opened(directory), {words: True})


# Which ends of turns are learned.


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ("turn", ["Here.<|im_end|>", "There.<|im_end|>"]),
        ("all", ["<|im_end|>", "<|im_end|>", "Here.<|im_end|>", "<|im_end|>", "There.<|im_end|>"]),
        ("last", ["Here.", "There.<|im_end|>"]),
        ("none", ["Here.", "There."]),
    ],
)
@pytest.mark.parametrize("name", ["chatml", "qwen"])
def test_ends_are_learned_as_asked(directory: Path, name: str, ends: Any, expected: list[str]) -> None:
    encoder = opened(directory)
    spans = template_of(name, encoder).spans(replace(TURNS, ends=ends))
    assert learned(spans) == expected
    tokens, usual = tokens_of(spans, encoder), tokens_of(template_of(name, encoder).spans(TURNS), encoder)
    assert tokens.ids.tolist() == usual.ids.tolist()


def test_turns_without_a_token_at_their_end_have_none_to_learn(directory: Path) -> None:
    spans = template_of("vicuna", opened(directory)).spans(replace(TURNS, ends="all"))
    assert learned(spans) == [" Here.</s>", " There.</s>"]


FORMATS: dict[str, dict[str, list[str]]] = {
    "firefly/qwen": {
        "turn": ["Here.<|im_end|>\n", "There.<|im_end|>\n"],
        "all": ["<|im_end|>", "<|im_end|>", "Here.<|im_end|>\n", "<|im_end|>", "There.<|im_end|>\n"],
        "last": ["Here.", "There.<|im_end|>\n"],
        "none": ["Here.", "There."],
    },
    "firefly/chatglm3": {
        "turn": ["Here.", "</s>", "There.", "</s>"],
        "all": ["Here.", "</s>", "There.", "</s>"],
        "last": ["Here.", "There.", "</s>"],
        "none": ["Here.", "There."],
    },
    "chatglm3": {
        "turn": ["\n", "Here.", "<|user|>", "\n", "There.", "</s>"],
        "all": ["<|user|>", "<|assistant|>", "\n", "Here.", "<|user|>", "<|assistant|>", "\n", "There.", "</s>"],
        "last": ["\n", "Here.", "\n", "There.", "</s>"],
        "none": ["\n", "Here.", "\n", "There."],
    },
    "alpaca": {"turn": ["Here.", "</s>", "There.", "</s>"], "none": ["Here.", "There."]},
}  # fmt: skip
"""What each choice of train_on_eos learns of ``TURNS``."""


@pytest.mark.parametrize(("name", "ends"), [(name, ends) for name in FORMATS for ends in FORMATS[name]])
def test_turn_formats_learn_their_ends_as_asked(directory: Path, name: str, ends: Any) -> None:
    encoder = opened(directory)
    spans = template_of(name, encoder).spans(replace(TURNS, ends=ends))
    assert [span.text for span in spans if span.trained] == FORMATS[name][ends]
    tokens, usual = tokens_of(spans, encoder), tokens_of(template_of(name, encoder).spans(TURNS), encoder)
    assert tokens.ids.tolist() == usual.ids.tolist()


@pytest.mark.parametrize(
    ("name", "turn_ends", "expected"),
    [
        ("chatml", ("eos_token",), "Here. There."),
        ("chatml", ("<|im_end|>",), "Here.<|im_end|> There.<|im_end|>"),
        ("chatml", ("<|eot|>", "eos_token"), "Here. There."),
        ("vicuna", ("eos_token",), " Here.</s>  There.</s>"),
        ("firefly/qwen", ("eos_token",), "Here. There."),
        ("firefly/qwen", ("<|im_end|>",), "Here.<|im_end|>\n There.<|im_end|>\n"),
        ("chatglm3", ("eos_token",), "\nHere. \nThere.</s>"),
    ],
)
def test_only_the_ends_that_count_are_learned(directory: Path, name: str, turn_ends: Any, expected: str) -> None:
    encoder = opened(directory)
    template = template_of(name, encoder)
    spans = template.spans(replace(TURNS, turn_ends=turn_ends))
    assert " ".join(learned(spans)) == expected
    assert tokens_of(spans, encoder).ids.tolist() == tokens_of(template.spans(TURNS), encoder).ids.tolist()
    assert template.terminators()
    gaps = template.gaps([message.role for message in TURNS.messages], turn_ends)
    if gaps is not None:
        filled = [gap.filled([message.content for message in TURNS.messages]) for gap in gaps]
        assert learned(filled) == learned(spans)


# GLM-4 and Pygmalion.


def test_glm4_lists_tools_and_writes_calls_as_json(directory: Path) -> None:
    text = text_of_spans(template_of("glm4", opened(directory)).spans(TOOLS))
    assert text.startswith("[gMASK]<sop><|system|>\n# 可用工具\n\n## find\n\n{\n    " + '"name": "find"')
    assert "表示调用的参数。<|user|>\nWhere is Mira?<|assistant|>find\n" in text
    assert '<|assistant|>find\n{"who": "Mira", "near": 2}<|observation|>\n{"at": "mill"}<|assistant|>\nIn the' in text


def test_pygmalion_leads_with_a_persona(directory: Path) -> None:
    spans = template_of("pygmalion", opened(directory)).spans(SYSTEM)
    assert text_of_spans(spans) == "<s><|system|>Persona: Be brief.<|user|> Where is Mira?<|model|> Here.</s>"
    assert learned(spans) == [" Here.</s>"]
