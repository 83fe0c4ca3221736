"""What a row says, whatever its format was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

TEXT = "text"
"""The role of a plain document, which no template touches."""

Ends = Literal["turn", "all", "last", "none"]
"""Which terminators are learned: of each learned turn, of every turn, of the last learned turn alone, or none."""

THOUGHTS = ("reasoning_content", "thinking")
"""What a turn's fields call its reasoning, apart from its content."""

Ranges = tuple[tuple[int, int], ...]
"""Stretches of a text: (first character, one past the last)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source as it was read; ``origin`` is ``file:line``."""

    origin: str
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``trained`` overrides the recipe's roles when it is not None.

    ``learned``: of a trained turn, only these stretches of its content and the token that ends it. ``fields``: what
    else the turn has that templates may write, such as ``reasoning_content`` or ``name``.
    """

    role: str
    content: str
    trained: bool | None = None
    tool_calls: tuple[dict[str, Any], ...] = ()
    learned: Ranges | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def thought(self) -> str:
        """The turn's reasoning, where it has one apart from its content."""
        return next((str(self.fields[name]) for name in THOUGHTS if self.fields.get(name)), "")

    def tree(self) -> dict[str, Any]:
        """The message as chat templates expect it."""
        plain: dict[str, Any] = {**self.fields, "role": self.role, "content": self.content}
        return {**plain, "tool_calls": list(self.tool_calls)} if self.tool_calls else plain


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a row that goes to the tokenizer as it stands, by itself.

    It is learned as a turn of ``role`` would be, unless ``trained`` says so for itself. ``given``: what of it comes
    from the row's columns, where control tokens are ordinary text; elsewhere they are what they say.
    """

    text: str
    role: str = "assistant"
    trained: bool | None = None
    given: Ranges = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """A row that was tokenised elsewhere: its ids, and whether each is learned."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation, or what no template touches: one message with the role ``text``.

    A plain document is nothing but that message. Where there are ``pieces``, they are tokenised in its place, and
    where ``ready`` is there, its ids are taken.
    """

    messages: tuple[Message, ...]
    origin: str
    tools: tuple[dict[str, Any], ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    """Columns worth keeping beside the conversation, such as a category."""
    rejected: tuple[Message, ...] = ()
    """Of a pair, the conversation that ends in the worse answer; ``messages`` ends in the better one."""
    ends: Ends = "turn"
    """Which of its terminators are learned."""
    turn_ends: tuple[str, ...] = ()
    """What counts as a terminator, ``eos_token`` for the tokenizer's end token; empty: what the template writes."""
    label: bool | None = None
    """Whether the answer is wanted, where rows tell single answers apart (KTO)."""
    pieces: tuple[Piece, ...] = ()
    rejected_pieces: tuple[Piece, ...] = ()
    framed: bool = False
    """Whether the tokenizer's own prefix stands before the pieces and its end token after them."""
    end_tokens: int = 1
    """How many end tokens stand behind a document, or behind framed pieces."""
    special_tokens: bool = True
    """Whether a document, or framed pieces, have around them what the tokenizer itself puts around a text."""
    control: bool = False
    """Whether control tokens in what the row holds are what they say; otherwise they are ordinary text."""
    ready: Ready | None = None

    @property
    def plain(self) -> bool:
        """Whether no chat template touches it."""
        return self.messages[0].role == TEXT


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
        raise missing(row, column)
    if not isinstance(value, str):
        raise RowFault(f"column {column!r} holds {type(value).__name__}, not text", "write it as a string")
    return value


def missing(row: Row, *columns: str) -> RowFault:
    """That a row has none of these columns, and which it has."""
    found = ", ".join(map(str, row.value)) or "none"
    wanted = " or ".join(map(repr, columns))
    return RowFault(f"has no column {wanted} (columns: {found})", "name the file's own columns in the source's columns")


def pieced(pieces: tuple[Piece, ...], origin: str, *, framed: bool = False, **more: Any) -> Example:
    """The example that is nothing but pieces of text."""
    whole = Message(TEXT, "".join(piece.text for piece in pieces))
    return Example((whole,), origin, pieces=pieces, framed=framed, **more)
