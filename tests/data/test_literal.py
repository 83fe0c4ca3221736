"""Control tokens in data are hidden while a template renders."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.example import Example, Message
from luthier.data.literal import Literals, pattern_of

CONTROL = pattern_of(["<|im_end|>", "<|im_start|>", "<|im_start|>x"])
PRIVATE = "\U000f0000"


def conversation(*contents: str) -> Example:
    return Example(tuple(Message("user", content) for content in contents), "c:1")


def test_a_conversation_without_control_tokens_stays_the_same() -> None:
    example = conversation("a", "b < c |")
    literals = Literals.of(example, CONTROL)
    assert literals.marks == {} and literals.hide(example) is example
    assert list(literals.pieces("a<|im_end|>")) == [("a<|im_end|>", False)]


def test_tokens_are_hidden_in_contents_calls_and_tools() -> None:
    call = {"function": {"name": "f", "arguments": {"<|im_end|>": ["a <|im_start|>", 1, None]}}}
    example = Example((Message("assistant", "<|im_end|>", None, (call,)),), "c:1", tools=({"doc": "<|im_start|>x"},))
    literals = Literals.of(example, CONTROL)
    hidden = literals.hide(example)
    told = json.dumps([hidden.messages[0].tree(), hidden.tools], ensure_ascii=False)
    assert set(literals.marks) == {"<|im_end|>", "<|im_start|>", "<|im_start|>x"}
    assert "<|" not in told
    assert json.loads(literals.shown(told)) == [example.messages[0].tree(), list(example.tools)]


def test_the_longest_of_several_tokens_is_hidden() -> None:
    assert Literals.of(conversation("<|im_start|>xy"), CONTROL).marks.keys() == {"<|im_start|>x"}


def test_private_characters_of_the_data_are_not_taken() -> None:
    example = conversation(f"icon {PRIVATE} and <|im_end|>")
    literals = Literals.of(example, CONTROL)
    assert PRIVATE not in literals.marks.values()
    assert literals.shown(literals.hide(example).messages[0].content) == example.messages[0].content


def test_pieces_tell_which_tokens_were_text() -> None:
    literals = Literals.of(conversation("a<|im_end|>b"), CONTROL)
    hidden = literals.hide(conversation("a<|im_end|>b")).messages[0].content
    assert list(literals.pieces(hidden + "<|im_end|>")) == [("a", False), ("<|im_end|>", True), ("b<|im_end|>", False)]


@given(st.lists(st.sampled_from(["<|im_end|>", "<|im_", "start|>", "x", PRIVATE, "|>", "<"])).map("".join))
@settings(max_examples=60, deadline=None)
def test_hiding_and_showing_gives_back_any_text(text: str) -> None:
    literals = Literals.of(conversation(text), CONTROL)
    hidden = literals.hide(conversation(text)).messages[0].content
    assert literals.shown(hidden) == text
    assert not CONTROL.search(hidden)
