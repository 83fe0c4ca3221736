"""Prompts of one's own."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.data.example import Example, Message, Piece, Row, RowFault
from luthier.data.formats.alpaca import read
from luthier.data.formats.pairs import pairs
from luthier.data.formats.prompt import with_prompt
from luthier.recipe.prompt_format import PromptFormat


def pieces(prompt: dict[str, Any], **columns: str) -> list[str]:
    row = Row("d:1", {"instruction": "Add.", "output": "2", **columns})
    return [piece.text for piece in with_prompt(read(row), PromptFormat(**prompt)).pieces]


def test_the_places_of_a_prompt_are_filled() -> None:
    prompt = {"format": "[{instruction}|{input}] {x}\n"}
    assert pieces(prompt, input="1+1") == ["[Add.|1+1] {x}\n", "2"]
    assert pieces(prompt) == ["[Add.|] {x}\n", "2"]


def test_rows_without_an_input_may_have_their_own_text() -> None:
    prompt = {"format": "[{instruction}|{input}]", "no_input_format": "({instruction})"}
    assert pieces(prompt) == ["(Add.)", "2"]
    assert pieces(prompt, input="1+1") == ["[Add.|1+1]", "2"]


def test_a_system_text_comes_first_and_the_rows_own_wins() -> None:
    prompt = {"format": "{instruction}:", "system": "Count.", "system_format": "S {system}\n"}
    assert pieces(prompt)[0] == "S Count.\nAdd.:"
    assert pieces(prompt, system="Guess.")[0] == "S Guess.\nAdd.:"
    assert pieces({**prompt, "system": None})[0] == "Add.:"


def test_what_a_row_gives_is_not_filled_again() -> None:
    assert pieces({"format": "{instruction}"}, instruction="{input}", input="x")[0] == "{input}"


def test_what_comes_from_the_row_is_known_to() -> None:
    row = Row("d:1", {"instruction": "Add.", "input": "1+1", "output": "2"})
    prompt = PromptFormat(format="a {instruction} b {input} c", answer="> {output} <")
    example = with_prompt(read(row), prompt)
    assert example.pieces == (
        Piece("a Add. b 1+1 c", "user", given=((2, 6), (9, 12))),
        Piece("> 2 <", "assistant", given=((2, 3),)),
    )
    assert example.framed and example.plain and example.messages[0].content == "a Add. b 1+1 c> 2 <"


def test_both_answers_of_a_pair_are_put_below_the_prompt() -> None:
    row = Row("d:1", {"prompt": "Who?", "chosen": "Mira.", "rejected": "Dunno."})
    example = with_prompt(pairs(row), PromptFormat(format="Q {instruction} A ", answer="{output}<end>"))
    assert [piece.text for piece in example.pieces] == ["Q Who? A ", "Mira.<end>"]
    assert [piece.text for piece in example.rejected_pieces] == ["Q Who? A ", "Dunno.<end>"]
    assert example.rejected[0].content == "Q Who? A Dunno.<end>"


def test_more_than_one_question_is_a_fault() -> None:
    turns = tuple(Message(role, "x") for role in ("user", "assistant", "user", "assistant"))
    with pytest.raises(RowFault, match="its turns are user, assistant, user, assistant") as caught:
        with_prompt(Example(turns, "d:1"), PromptFormat())
    assert caught.value.remedy
