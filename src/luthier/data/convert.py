"""Rows -> Examples, by the format that the recipe names or the first row's columns show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar, get_args

from luthier.data.example import Example, Message, Piece, Row, RowFault
from luthier.data.formats.prompt import with_prompt
from luthier.data.formats.turns import renamed, split_thought
from luthier.data.source import rows_of
from luthier.errors import DataError, Fault
from luthier.recipe.source import Role, Source
from luthier.registry import resolve

Format = Callable[[Row], Example]
Turn = TypeVar("Turn", Message, Piece)

_SHOWN_BY: dict[str, tuple[set[str], ...]] = {
    "tokens": ({"input_ids"},),
    "input_output": ({"segments"},),
    "pairs": ({"chosen", "rejected"}, {"chosen_response", "rejected_response"}),
    "labelled": ({"prompt", "completion", "label"},),
    "completion": ({"prompt", "completion"},),
    "messages": ({"messages"}, {"conversations"}, {"conversation"}),
    "reflection": ({"instruction", "output", "reflection", "corrected"},),
    "alpaca": ({"instruction", "output"},),
    "gpteacher": ({"instruction", "response"},),
    "oasst": ({"INSTRUCTION", "RESPONSE"},),
    "human_assistant": ({"human", "assistant"},),
    "text": ({"text"},),
}
"""What shows each format, the more telling first."""

_EITHER = ("pairs", "messages")
"""Formats whose columns some datasets have both of."""

MOST_SHOWN = 20


def detect(row: Row) -> str:
    """The name of the format that the row's columns show.

    Raises:
        DataError: no format fits, or two that mean different things.
    """
    columns = {name for name, value in row.value.items() if value is not None}
    fitting = [name for name, needs in _SHOWN_BY.items() if any(need <= columns for need in needs)]
    if set(_EITHER) <= set(fitting):
        raise DataError(
            f"the columns {', '.join(sorted(map(str, columns)))} fit the formats {' and '.join(_EITHER)}",
            place=row.origin,
            remedy="name the one that is meant in the source's format",
        )
    if fitting:
        return fitting[0]
    raise DataError(
        f"no format fits the columns {', '.join(sorted(map(str, columns)))}",
        place=row.origin,
        remedy="name the source's format, and its columns where they are called otherwise",
    )


def format_of(source: Source) -> str:
    """The source's format, told from its first row where it is not named; ``text`` where there are no rows.

    Raises:
        DataError: the first row cannot be read, or no format fits it.
    """
    if source.format != "auto":
        return source.format
    first = next(iter(rows_of(source)), None)
    return "text" if first is None else detect(first)


def attempts_of(source: Source) -> Iterator[Example | Fault]:
    """Every row of a source in its order: as an example, or as what is wrong with it.

    Raises:
        DataError: the source's own settings cannot be, or its file cannot be read.
    """
    _check(source)
    read: Format | None = None if source.format == "auto" else resolve("formats", source.format)
    for row in rows_of(source):
        if read is None:
            read = resolve("formats", detect(row))
        try:
            attempt: Example | Fault = _whole(_as_asked(read(_renamed(row, source)), source))
        except RowFault as fault:
            attempt = Fault(fault.reason, row.origin, fault.remedy)
        yield attempt


def _check(source: Source) -> None:
    for role in source.roles:
        if role not in get_args(Role):
            remedy = f"use {', '.join(get_args(Role))}"
            raise DataError(f"{role!r} is not a role", place=f"{source.path}: roles", remedy=remedy)
    for name in ("format", "no_input_format"):
        text = getattr(source.prompt, name, None)
        if text is not None and "{instruction}" not in text:
            place = f"{source.path}: prompt.{name}"
            raise DataError("has no place for the question", place=place, remedy="write {instruction} there")


def _renamed(row: Row, source: Source) -> Row:
    """The row, its turns under our names; in whatever columns they stand."""
    if not (source.turns or source.roles):
        return row
    return Row(row.origin, {name: renamed(value, source.turns, source.roles) for name, value in row.value.items()})


def _as_asked(example: Example, source: Source) -> Example:
    """The example as the source's settings want it, whatever its format."""
    if source.split_thinking:
        kept, worse = (tuple(map(split_thought, turns)) for turns in (example.messages, example.rejected))
        example = replace(example, messages=kept, rejected=worse)
    if source.train_on_eos != "turn":
        example = replace(example, ends=source.train_on_eos)
    if source.turn_ends:
        example = replace(example, turn_ends=source.turn_ends)
    if source.drop_system:
        kept, worse = _without_system(example.messages), _without_system(example.rejected)
        if not kept:
            raise RowFault("holds nothing but a system message", "remove the row, or keep system messages")
        example = replace(example, messages=kept, rejected=worse)
    if source.prompt is not None and not example.plain:
        example = with_prompt(example, source.prompt)
    if source.end_tokens != 1:
        example = replace(example, end_tokens=source.end_tokens)
    if not source.special_tokens:
        example = replace(example, special_tokens=False)
    if source.control_tokens == "control":
        example = replace(example, control=True)
    if source.train_on is not None and not (example.plain and not example.pieces):
        example = replace(
            example,
            messages=_flagged(example.messages, source.train_on),
            rejected=_flagged(example.rejected, source.train_on),
            pieces=_flagged(example.pieces, source.train_on),
            rejected_pieces=_flagged(example.rejected_pieces, source.train_on),
        )
    return example


def _without_system(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return messages[1:] if messages and messages[0].role == "system" else messages


def _flagged(parts: tuple[Turn, ...], roles: tuple[str, ...]) -> tuple[Turn, ...]:
    """The turns or pieces, with what the roles decide written down; those that say so for themselves stay."""
    return tuple(replace(part, trained=part.role in roles) if part.trained is None else part for part in parts)


def _whole(example: Example) -> Example:
    """The example, if all that it says can be written.

    Raises:
        RowFault: a text of it holds half a character, or NUL.
    """
    for message in (*example.messages, *example.rejected):
        _check_text(message.content)
        if message.fields or message.tool_calls:
            _check_texts([message.fields, message.tool_calls])
    if example.tools or example.extra or example.rejected_pieces:
        _check_texts([example.tools, example.extra, [piece.text for piece in example.rejected_pieces]])
    return example


def _check_texts(values: list[Any]) -> None:
    """Check every text in values of JSON, however deep."""
    left = list(values)
    while left:
        value = left.pop()
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, dict):
            left += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            left += value


def _check_text(text: str) -> None:
    if "\0" in text:
        raise RowFault("holds NUL characters", "copy the file anew, or remove the row")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start].encode("unicode_escape").decode()
        raise RowFault(f"holds half a character ({half})", "write the whole surrogate pair, or remove it") from error
