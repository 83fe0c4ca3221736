"""Turns as they are about: OpenAI's, ShareGPT's, Guanaco's, Firefly's and ChatGLM3's spelling -> messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from luthier.data.example import Message, Ranges, RowFault

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "claude", "bot", "model"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "ipython"), "tool"),
}
FIELDS = ("name", "tool_call_id", "reasoning_content", "thinking", "metadata")
"""Further properties of turns that templates write."""


def messages_of(turns: Sequence[Any]) -> tuple[Message, ...]:
    """The messages of a list of turns.

    Raises:
        RowFault: a turn is none; the message counts it from 1.
    """
    return tuple(message for position, turn in enumerate(turns, 1) for message in _turn(turn, position))


def renamed(value: Any, turns: Mapping[str, str], roles: Mapping[str, Sequence[str]]) -> Any:
    """A list of turns, or one turn, with its properties under our names and its roles as ours; all else as it is."""
    if isinstance(value, list):
        return [renamed(one, turns, roles) for one in value]
    if not isinstance(value, dict):
        return value
    ours = {**value, **{name: value[theirs] for name, theirs in turns.items() if theirs in value}}
    of_theirs = {theirs: role for role, names in roles.items() for theirs in names}
    for name in ("role", "from"):
        if isinstance(ours.get(name), str):
            ours[name] = of_theirs.get(ours[name], ours[name])
    extra = {name: ours[name] for name in turns if name in ours and name not in _KNOWN}
    return {**ours, "fields": extra} if extra else ours


_TEXTS = ("text", "input_text", "output_text")
"""What parts of a turn are called that are text."""
_KNOWN = {"role", "content", "trained", "trained_parts", "tool_calls", *FIELDS}


_THOUGHTS = (("<think>", "</think>"), ("<reasoning>", "</reasoning>"), ("<|begin_of_thought|>", "<|end_of_thought|>"))
_SOLUTION = ("<|begin_of_solution|>", "<|end_of_solution|>")


def split_thought(message: Message) -> Message:
    """An answer with the thought in its text as ``reasoning_content``, both without the white space around them.

    >>> split_thought(Message("assistant", "<think>\\nHm.\\n</think>\\n\\nMira.")).fields
    {'reasoning_content': 'Hm.'}
    """
    if message.role != "assistant":
        return message
    for opens, closes in _THOUGHTS:
        before, found, rest = message.content.partition(opens)
        thought, closed, content = rest.partition(closes)
        if found and closed:
            if before.strip():
                raise RowFault(f"an answer has text before its {opens}", "leave split_thinking out, or move the text")
            content = content.lstrip()
            _, inside, solution = content.partition(_SOLUTION[0])
            solution, solved, _ = solution.partition(_SOLUTION[1])
            content = solution.strip() if inside and solved else content
            if message.learned is not None:
                raise RowFault("an answer is learned in parts and has a thought to split", "leave one of them out")
            return replace(message, content=content, fields={**message.fields, "reasoning_content": thought.strip()})
    return message


def _turn(turn: Any, position: int) -> list[Message]:
    """One turn; the two of Firefly's question and answer, or of ChatGLM3's call of a tool and what it gave."""
    if not isinstance(turn, dict):
        raise RowFault(
            f"turn {position} is {type(turn).__name__}, not an object", 'write {"role": "user", "content": "…"}'
        )
    if "human" in turn and "assistant" in turn:
        return [
            Message("user", _text(turn["human"], position)),
            Message("assistant", _text(turn["assistant"], position)),
        ]
    role = turn.get("role", turn.get("from"))
    if not isinstance(role, str) or role not in ROLES:
        known = ", ".join(ROLES)
        raise RowFault(
            f"turn {position} has the role {role!r}", f"use one of: {known}; or name it in the source's roles"
        )
    if role == "tool" and "observation" in turn and "parameters" in turn:
        function = {"name": turn.get("name", ""), "arguments": turn["parameters"]}
        calls = _calls([{"type": "function", "function": function}], position)
        seen = turn["observation"]
        text = seen if isinstance(seen, str) else json.dumps(seen, ensure_ascii=False)
        return [Message("assistant", "", tool_calls=calls), Message("tool", text)]
    content = next((turn[name] for name in ("content", "value", "text") if name in turn), None)
    calls = _calls(turn.get("tool_calls"), position)
    text = _text("" if content is None and calls else content, position)
    trained = turn.get("trained", turn.get("train"))
    if trained is not None and not isinstance(trained, bool):
        raise RowFault(f"turn {position} has trained: {trained!r}", "write true or false")
    learned = _learned(turn.get("trained_parts"), len(text), position)
    if trained is None and learned is not None:
        trained = bool(learned)
    fields = {name: turn[name] for name in FIELDS if turn.get(name) is not None} | turn.get("fields", {})
    return [Message(ROLES[role], text, trained, calls, learned, fields)]


def _text(content: Any, position: int) -> str:
    """A turn's text; of a list of parts, as OpenAI has them, the texts one after the other."""
    if isinstance(content, list) and content:
        return "".join(_part(part, position) for part in content)
    if not isinstance(content, str):
        raise RowFault(f"turn {position} holds {type(content).__name__}, not text", "write its content as a string")
    return content


def _part(part: Any, position: int) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else type(part).__name__
    if kind not in _TEXTS or not isinstance(part.get("text"), str):
        reason = f"turn {position} holds a part of the type {kind!r}, and only text is read"
        raise RowFault(reason, 'write {"type": "text", "text": "…"}, or leave the row out')
    return str(part["text"])


def _learned(parts: Any, length: int, position: int) -> Ranges | None:
    """The learned stretches of a turn: pairs of first character and one past the last, or Axolotl's objects, whose
    ``end_offset`` is the last character. An empty list learns nothing of it.
    """
    if parts is None:
        return None
    remedy = 'write [[0, 5], …] or [{"begin_offset": 0, "end_offset": 4, "train": true}, …]'
    if not isinstance(parts, list):
        raise RowFault(f"turn {position} has trained_parts: {parts!r}", remedy)
    found: list[tuple[int, int]] = []
    for part in parts:
        if isinstance(part, dict):
            begin, last, train = part.get("begin_offset"), part.get("end_offset"), part.get("train", True)
            end = last + 1 if isinstance(last, int) else last
        elif isinstance(part, list) and len(part) == 2:
            (begin, end), train = part, True
        else:
            raise RowFault(f"turn {position} has a trained part {part!r}", remedy)
        if not (isinstance(begin, int) and isinstance(end, int) and 0 <= begin < end <= length):
            raise RowFault(
                f"turn {position}, of {length} characters, has a trained part from {begin!r} to {end!r}", remedy
            )
        if train:
            found.append((begin, end))
    return tuple(sorted(found))


def _calls(value: Any, position: int) -> tuple[dict[str, Any], ...]:
    """Calls of tools; arguments that stand there as JSON text, as OpenAI has them, become the object they are."""
    calls = objects(value, f"turn {position}'s tool_calls")
    return tuple(_call(call, position) for call in calls)


def _call(call: dict[str, Any], position: int) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except json.JSONDecodeError as error:
        raise RowFault(
            f"turn {position} calls a tool with arguments that are not JSON: {error.msg}", 'write {"name": value, …}'
        ) from error
    return {**call, "function": {**function, "arguments": arguments}}


def objects(value: Any, name: str) -> tuple[dict[str, Any], ...]:
    """A list of objects; datasets whose columns must be flat write it as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except json.JSONDecodeError as error:
            raise RowFault(f"{name} is not JSON: {error.msg}", "write a list of objects") from error
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(inner, dict) for inner in value):
        raise RowFault(f"{name} is not a list of objects", 'write [{"type": "function", "function": {…}}, …]')
    return tuple(value)
