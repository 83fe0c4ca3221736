"""Conversations in the spellings that are about."""

from __future__ import annotations

import json
from typing import Any

import pytest

from luthier.data.example import Message, Row, RowFault
from luthier.data.formats.messages import ROLES, read

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


@pytest.mark.parametrize(("theirs", "ours"), ROLES.items())
def test_every_spelling_of_a_role_is_known(theirs: str, ours: str) -> None:
    assert turns_of([{"role": theirs, "content": "x"}])[0].role == ours


def test_the_roles_of_tools_are_one() -> None:
    assert {ROLES[name] for name in ("tool", "function", "observation")} == {"tool"}


def test_firefly_pairs_become_two_turns() -> None:
    turns = [{"human": "A?", "assistant": "A."}, {"human": "B?", "assistant": "B."}]
    expected = (("user", "A?"), ("assistant", "A."), ("user", "B?"), ("assistant", "B."))
    assert [(m.role, m.content) for m in turns_of(turns, "conversation")] == list(expected)


def test_a_system_column_becomes_the_first_turn_unless_there_is_one() -> None:
    asked = {"role": "user", "content": "Hi"}
    own = {"role": "system", "content": "Own."}
    assert turns_of([asked], system="Given.")[0] == Message("system", "Given.")
    assert [m.content for m in turns_of([own, asked], system="Given.")] == ["Own.", "Hi"]


@pytest.mark.parametrize("key", ["train", "trained"])
@pytest.mark.parametrize("value", [True, False])
def test_a_turn_says_for_itself_whether_it_is_learned(key: str, value: bool) -> None:
    assert turns_of([{"role": "assistant", "content": "x", key: value}])[0].trained is value


def test_a_turn_that_says_nothing_is_left_to_the_recipe() -> None:
    assert turns_of([{"role": "assistant", "content": "x", "train": None}])[0].trained is None


def test_calls_of_tools_need_no_content() -> None:
    message = turns_of([{"role": "assistant", "content": None, "tool_calls": [CALL]}])[0]
    assert message.content == "" and message.tool_calls == (CALL,)
    assert message.tree() == {"role": "assistant", "content": "", "tool_calls": [CALL]}


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
        ([{"content": "x"}], "turn 1 has the role None"),
        ([{"role": ["user"], "content": "x"}], r"turn 1 has the role \['user'\]"),
        ([{"role": "user"}], "turn 1 holds NoneType, not text"),
        ([{"role": "user", "content": [{"type": "text"}]}], "turn 1 holds list, not text"),
        ([{"human": "x", "assistant": 5}], "turn 1 holds int, not text"),
        ([{"role": "user", "content": "x", "train": 1}], "turn 1 has trained: 1"),
        ([{"role": "assistant", "tool_calls": 5}], "turn 1's tool_calls is not a list of objects"),
        ([{"role": "assistant", "tool_calls": ["f"]}], "turn 1's tool_calls is not a list of objects"),
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
    with pytest.raises(RowFault, match="has none of the columns messages, conversations, conversation"):
        read(Row("c:1", {"dialog": []}))
