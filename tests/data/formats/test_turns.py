"""Turns in every spelling that is about."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.data.example import Message, RowFault
from luthier.data.formats.turns import ROLES, messages_of, renamed, split_thought

CALL = {"type": "function", "function": {"name": "find", "arguments": {"who": "Mira"}}}


def one(**turn: Any) -> Message:
    (message,) = messages_of([{"role": "assistant", "content": "x", **turn}])
    return message


@pytest.mark.parametrize(
    "turn", [{"role": "user", "content": "Hi"}, {"from": "human", "value": "Hi"}, {"role": "prompter", "text": "Hi"}]
)
def test_openai_sharegpt_and_guanaco_spell_alike(turn: dict[str, str]) -> None:
    assert messages_of([turn]) == (Message("user", "Hi"),)


@pytest.mark.parametrize(("theirs", "ours"), ROLES.items())
def test_every_spelling_of_a_role_is_known(theirs: str, ours: str) -> None:
    assert one(role=theirs).role == ours


def test_the_roles_of_tools_are_one() -> None:
    assert {ROLES[name] for name in ("tool", "function", "observation")} == {"tool"}


@pytest.mark.parametrize("key", ["train", "trained"])
@pytest.mark.parametrize("value", [True, False])
def test_a_turn_says_for_itself_whether_it_is_learned(key: str, value: bool) -> None:
    assert one(**{key: value}).trained is value


def test_a_turn_that_says_nothing_is_left_to_the_recipe() -> None:
    assert one(train=None).trained is None and one().learned is None


def test_parts_of_a_turn_are_learned() -> None:
    assert one(content="abcdef", trained_parts=[[4, 6], [0, 2]]).learned == ((0, 2), (4, 6))
    details = [
        {"begin_offset": 0, "end_offset": 1, "train": False},
        {"begin_offset": 2, "end_offset": 3, "train": True},
    ]
    found = one(content="abcdef", trained_parts=details)
    assert found.learned == ((2, 4),), "Axolotl's end_offset is the last character"
    assert found.trained is True


def test_a_turn_without_learned_parts_is_not_learned() -> None:
    assert one(trained_parts=[]).trained is False
    assert one(trained_parts=[[0, 1]], trained=False).trained is False


def test_calls_of_tools_need_no_content() -> None:
    message = one(content=None, tool_calls=[CALL])
    assert message.content == "" and message.tool_calls == (CALL,)
    assert message.tree() == {"role": "assistant", "content": "", "tool_calls": [CALL]}


def test_arguments_in_json_text_become_what_they_say() -> None:
    written = {"type": "function", "function": {"name": "find", "arguments": '{"who": "Mira"}'}}
    assert one(tool_calls=[written]).tool_calls == (CALL,)


def test_chatglm3_calls_a_tool_and_sees_what_it_gave_in_one_turn() -> None:
    turn = {"role": "tool", "name": "find", "parameters": {"who": "Mira"}, "observation": {"home": "mill"}}
    called, seen = messages_of([turn])
    assert (called.role, called.content, called.tool_calls) == ("assistant", "", (CALL,))
    assert seen == Message("tool", '{"home": "mill"}')


def test_what_templates_write_besides_is_kept() -> None:
    message = one(reasoning_content="Hm.", name="Ada", weight=3)
    assert message.tree() == {"role": "assistant", "content": "x", "reasoning_content": "Hm.", "name": "Ada"}


def test_properties_and_roles_may_have_names_of_their_own() -> None:
    turns = [{"who": "asker", "says": "Hi"}, {"who": "answerer", "says": "Ho", "why": "so", "learn": False}]
    names = {"role": "who", "content": "says", "reasoning": "why", "trained": "learn"}
    ours = renamed(turns, names, {"user": ("asker",), "assistant": ("answerer",)})
    first, second = messages_of(ours)
    assert first == Message("user", "Hi")
    assert second == Message("assistant", "Ho", trained=False, fields={"reasoning": "so"})


def test_renaming_leaves_other_columns_and_turns_alone() -> None:
    assert renamed("text", {"role": "who"}, {}) == "text"
    assert renamed([{"from": "human", "value": "x"}], {}, {"user": ("asker",)}) == [{"from": "human", "value": "x"}]


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ("Hi", "turn 1 is str, not an object"),
        ({"role": "robot", "content": "x"}, "turn 1 has the role 'robot'"),
        ({"content": "x"}, "turn 1 has the role None"),
        ({"role": ["user"], "content": "x"}, r"turn 1 has the role \['user'\]"),
        ({"role": "user"}, "turn 1 holds NoneType, not text"),
        ({"role": "user", "content": []}, "turn 1 holds list, not text"),
        ({"human": "x", "assistant": 5}, "turn 1 holds int, not text"),
        ({"role": "user", "content": "x", "train": 1}, "turn 1 has trained: 1"),
        ({"role": "user", "content": "x", "trained_parts": 1}, "turn 1 has trained_parts: 1"),
        ({"role": "user", "content": "x", "trained_parts": [1]}, "turn 1 has a trained part 1"),
        (
            {"role": "user", "content": "x", "trained_parts": [[0, 2]]},
            "of 1 characters, has a trained part from 0 to 2",
        ),
        ({"role": "user", "content": "x", "trained_parts": [[1, 1]]}, "from 1 to 1"),
        ({"role": "user", "content": "x", "trained_parts": [{"begin_offset": 0}]}, "from 0 to None"),
        ({"role": "assistant", "tool_calls": 5}, "turn 1's tool_calls is not a list of objects"),
        ({"role": "assistant", "tool_calls": ["f"]}, "turn 1's tool_calls is not a list of objects"),
        ({"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]}, "arguments that are not JSON"),
    ],
)
def test_a_turn_that_is_none_says_why(turn: Any, reason: str) -> None:
    with pytest.raises(RowFault, match=reason) as caught:
        messages_of([turn])
    assert caught.value.remedy


# Thoughts inside an answer's text.


@pytest.mark.parametrize(
    ("content", "thought", "answer"),
    [
        ("<think>\nHm.\n</think>\n\nMira. ", "Hm.", "Mira. "),
        ("<reasoning>Hm.</reasoning>Mira.", "Hm.", "Mira."),
        (
            "<|begin_of_thought|> Hm. <|end_of_thought|>\n<|begin_of_solution|> Mira. <|end_of_solution|>",
            "Hm.",
            "Mira.",
        ),
        ("No <think> is closed.", "", "No <think> is closed."),
    ],
)
def test_a_thought_is_split_from_the_answer(content: str, thought: str, answer: str) -> None:
    split = split_thought(Message("assistant", content))
    assert (split.thought, split.content) == (thought, answer)
    assert split_thought(Message("user", content)).content == content


def test_a_thought_that_cannot_be_split_is_named() -> None:
    with pytest.raises(RowFault, match="text before its <think>"):
        split_thought(Message("assistant", "Well. <think>Hm.</think>Mira."))
    with pytest.raises(RowFault, match="learned in parts"):
        split_thought(Message("assistant", "<think>Hm.</think>Mira.", learned=((0, 3),)))
