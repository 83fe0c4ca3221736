"""What a row says, whatever its format was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TEXT = "text"
"""The role of a plain document, which no template touches."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source as it was read; ``origin`` is ``file:line``."""

    origin: str
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``trained`` overrides the recipe's roles when it is not None."""

    role: str
    content: str
    trained: bool | None = None
    tool_calls: tuple[dict[str, Any], ...] = ()

    def tree(self) -> dict[str, Any]:
        """The message as chat templates expect it."""
        plain: dict[str, Any] = {"role": self.role, "content": self.content}
        return {**plain, "tool_calls": list(self.tool_calls)} if self.tool_calls else plain


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation, or a plain document: one message with the role ``text``."""

    messages: tuple[Message, ...]
    origin: str
    tools: tuple[dict[str, Any], ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    """Columns worth keeping beside the conversation, such as a category."""


class RowFault(Exception):
    """A row that is not of its format: the reason, and what to write instead."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


def text_of(row: Row, column: str, *, required: bool = True) -> str:
    """The text in a column; an absent or empty optional one is the empty string.

    Raises:
        RowFault: the column is missing though required, or holds something else than text.
    """
    value = row.value.get(column)
    if value is None and not required:
        return ""
    if value is None:
        found = ", ".join(map(str, row.value)) or "none"
        raise RowFault(
            f"has no column {column!r} (columns: {found})", "name the file's own columns in the source's columns"
        )
    if not isinstance(value, str):
        raise RowFault(f"column {column!r} holds {type(value).__name__}, not text", "write it as a string")
    return value
