"""Conversations: a list of turns under messages or conversations, in the spellings that are about."""

from __future__ import annotations

from typing import Any

from luthier.data.example import Example, Message, Row, RowFault, missing, text_of
from luthier.data.formats.turns import messages_of, objects

LISTS = ("messages", "conversations", "conversation")


def read(row: Row) -> Example:
    """All turns in their order; a ``system`` column becomes the first one.

    >>> read(Row("c.jsonl:1", {"conversations": [{"from": "human", "value": "Hi"}]})).messages[0].content
    'Hi'
    """
    name = next((name for name in LISTS if row.value.get(name) is not None), None)
    if name is None:
        raise missing(row, *LISTS)
    turns = row.value[name]
    if not isinstance(turns, list) or not turns:
        raise RowFault(f"column {name!r} is not a list of turns", 'write [{"role": "user", "content": "…"}, …]')
    messages = with_system(row, messages_of(turns))
    return Example(messages, row.origin, tools=_tools(row, turns))


def with_system(row: Row, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages, below the ``system`` column's text where they have no system message."""
    system = text_of(row, "system", required=False)
    return (Message("system", system), *messages) if system and messages[0].role != "system" else messages


def _tools(row: Row, turns: list[Any]) -> tuple[dict[str, Any], ...]:
    """The tools of the column, or of the first turn, where ChatGLM3's rows may have them."""
    listed = objects(row.value.get("tools"), "column 'tools'")
    return listed or objects(turns[0].get("tools"), "turn 1's tools")
