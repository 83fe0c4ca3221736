"""Conversations: a list of turns under messages or conversations, in OpenAI's or ShareGPT's spelling."""

from __future__ import annotations

import json
from typing import Any

from luthier.data.example import Example, Message, Row, RowFault, text_of

LISTS = ("messages", "conversations", "conversation")
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


def read(row: Row) -> Example:
    """All turns in their order; a ``system`` column becomes the first one.

    >>> read(Row("c.jsonl:1", {"conversations": [{"from": "human", "value": "Hi"}]})).messages
    (Message(role='user', content='Hi', trained=None, tool_calls=()),)
    """
    name = next((name for name in LISTS if row.value.get(name) is not None), None)
    if name is None:
        raise RowFault(
            f"has none of the columns {', '.join(LISTS)}", "name the file's own column in the source's columns"
        )
    turns = row.value[name]
    if not isinstance(turns, list) or not turns:
        raise RowFault(f"column {name!r} is not a list of turns", 'write [{"role": "user", "content": "…"}, …]')
    messages = [message for position, turn in enumerate(turns, 1) for message in _turns(turn, position)]
    system = text_of(row, "system", required=False)
    if system and messages[0].role != "system":
        messages.insert(0, Message("system", system))
    return Example(tuple(messages), row.origin, tools=_objects(row.value.get("tools"), "column 'tools'"))


def _turns(turn: Any, position: int) -> list[Message]:
    """One turn, or the two of Firefly's ``{"human": …, "assistant": …}``."""
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
    content = turn.get("content", turn.get("value"))
    calls = _objects(turn.get("tool_calls"), f"turn {position}'s tool_calls")
    if not isinstance(role, str) or role not in ROLES:
        raise RowFault(f"turn {position} has the role {role!r}", f"use one of: {', '.join(ROLES)}")
    if content is None and calls:
        content = ""
    trained = turn.get("trained", turn.get("train"))
    if trained is not None and not isinstance(trained, bool):
        raise RowFault(f"turn {position} has trained: {trained!r}", "write true or false")
    return [Message(ROLES[role], _text(content, position), trained, calls)]


def _text(content: Any, position: int) -> str:
    if not isinstance(content, str):
        raise RowFault(f"turn {position} holds {type(content).__name__}, not text", "write its content as a string")
    return content


def _objects(value: Any, name: str) -> tuple[dict[str, Any], ...]:
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
