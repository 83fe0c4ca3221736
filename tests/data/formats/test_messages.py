"""Conversations in the spellings that are about."""

from __future__ import annotations

import json
from typing import Any

import pytest

from luthier.data.example import Message, Row, RowFault
from luthier.data.formats.messages import read

CALL = {"type": "function", "function": {"name": "find", "arguments": {"who": "Mira"}}}


def turns_of(turns: Any, column: str = "messages", **columns: Any) -> tuple[Message, ...]:
    return read(Row("c:1", {column: turns, **columns})).messages


@pytest.mark.parametrize("column", ["messages", "conversations", "conversation"])
def test_openai_turns_are_read_under_each_column_name(column: str) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    assert turns_of(turns, column) == (Message("user", "Hi"), Message("assistant", "Ho"))


def test_sharegpt_turns_are_read() -> None:
    turns = [{"from": "system", "value": "S"}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
    assert turns_of(turns) == (Message("system", "S"), Message("user", "Hi"), Message("assistant", "Ho"))


def test_firefly_pairs_become_two_turns() -> None:
    turns = [{"human": "A?", "assistant": "A."}, {"human": "B?", "assistant": "B."}]
    expected = (("user", "A?"), ("assistant", "A."), ("user", "B?"), ("assistant", "B."))
    assert [(m.role, m.content) for m in turns_of(turns, "conversation")] == list(expected)


def test_a_system_column_becomes_the_first_turn_unless_there_is_one() -> None:
    asked = {"role": "user", "content": "Hi"}
    own = {"role": "system", "content": "Own."}
    assert turns_of([asked], system="Given.")[0] == Message("system", "Given.")
    assert [m.content for m in turns_of([own, asked], system="Given.")] == ["Own.", "Hi"]


def test_chatglm3_may_list_the_tools_in_the_system_turn() -> None:
    turns = [{"role": "system", "content": "S", "tools": [CALL]}, {"role": "user", "content": "x"}]
    assert read(Row("c:1", {"conversations": turns})).tools == (CALL,)


@pytest.mark.parametrize("shape", [list, json.dumps], ids=["list", "text"])
def test_tools_are_read_as_a_list_or_as_its_json(shape: Any) -> None:
    row = Row("c:1", {"messages": [{"role": "user", "content": "x"}], "tools": shape([CALL])})
    assert read(row).tools == (CALL,)


@pytest.mark.parametrize("nothing", [None, "", " ", [], "[]"])
def test_no_tools_are_no_fault(nothing: Any) -> None:
    assert read(Row("c:1", {"messages": [{"role": "user", "content": "x"}], "tools": nothing})).tools == ()


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ("Hi", "column 'messages' is not a list of turns"),
        ([], "column 'messages' is not a list of turns"),
        (["Hi"], "turn 1 is str, not an object"),
        ([{"role": "user", "content": "x"}, {"role": "robot", "content": "x"}], "turn 2 has the role 'robot'"),
    ],
)
def test_a_row_that_is_no_conversation_says_why(turns: Any, reason: str) -> None:
    with pytest.raises(RowFault, match=reason) as caught:
        turns_of(turns)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("tools", "reason"), [("{broken", "column 'tools' is not JSON"), ({"name": "f"}, "column 'tools' is not a list")]
)
def test_broken_tools_are_a_fault_and_not_left_out(tools: Any, reason: str) -> None:
    with pytest.raises(RowFault, match=reason):
        turns_of([{"role": "user", "content": "x"}], tools=tools)


def test_a_row_without_turns_names_the_columns_that_could_hold_them() -> None:
    with pytest.raises(
        RowFault, match="has no column 'messages' or 'conversations' or 'conversation' \\(columns: dialog\\)"
    ):
        read(Row("c:1", {"dialog": []}))


def test_parts_of_a_turn_are_one_text() -> None:
    parts = [{"type": "text", "text": "Where is "}, {"type": "input_text", "text": "the mill?", "image": None}, "!"]
    turns = [{"role": "user", "content": parts}, {"role": "assistant", "content": [{"type": "text", "text": "Here."}]}]
    found = read(Row("d:1", {"messages": turns}))
    assert [message.content for message in found.messages] == ["Where is the mill?!", "Here."]


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "image_url", "image_url": {"url": "x"}}, "'image_url'"),
        ({"type": "input_audio", "input_audio": {}}, "'input_audio'"),
        ({"type": "text"}, "'text'"),
        ({"text": "no type"}, "None"),
        (5, "'int'"),
    ],
    ids=str,
)
def test_parts_that_are_no_text_are_named(part: Any, named: str) -> None:
    turns = [{"role": "user", "content": [{"type": "text", "text": "Look: "}, part]}]
    with pytest.raises(RowFault, match=f"turn 1 holds a part of the type {named}") as caught:
        read(Row("d:1", {"messages": turns}))
    assert caught.value.remedy
