"""Rows -> Examples, by the format that the recipe names or the first row's columns show."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from luthier.data.example import Example, Row, RowFault
from luthier.data.source import rows_of
from luthier.errors import DataError, Fault
from luthier.recipe.data import Source
from luthier.registry import resolve

Format = Callable[[Row], Example]

_SHOWN_BY = {
    "messages": ({"messages"}, {"conversations"}, {"conversation"}),
    "alpaca": ({"instruction", "output"},),
    "human_assistant": ({"human", "assistant"},),
    "text": ({"text"},),
}

MOST_SHOWN = 20


def detect(row: Row) -> str:
    """The name of the format that the row's columns show.

    Raises:
        DataError: no format fits.
    """
    columns = set(row.value)
    for name, needs in _SHOWN_BY.items():
        if any(need <= columns for need in needs):
            return name
    raise DataError(
        f"no format fits the columns {', '.join(sorted(map(str, columns)))}",
        place=row.origin,
        remedy="name the source's format, and its columns where they are called otherwise",
    )


def attempts_of(source: Source) -> Iterator[Example | Fault]:
    """Every row of a source in its order: as an example, or as what is wrong with it."""
    read: Format | None = None if source.format == "auto" else resolve("formats", source.format)
    for row in rows_of(source):
        if read is None:
            read = resolve("formats", detect(row))
        try:
            attempt: Example | Fault = _whole(read(row))
        except RowFault as fault:
            attempt = Fault(fault.reason, row.origin, fault.remedy)
        yield attempt


def _whole(example: Example) -> Example:
    for message in example.messages:
        try:
            message.content.encode()
        except UnicodeEncodeError as error:
            half = message.content[error.start].encode("unicode_escape").decode()
            raise RowFault(
                f"holds half a character ({half})", "write the whole surrogate pair, or remove it"
            ) from error
    return example


def examples_of(source: Source, *, bad_rows: int = 0, set_aside: list[Fault] | None = None) -> Iterator[Example]:
    """The examples of a source in their order.

    Rows that are not of the format are collected in ``set_aside``, up to ``bad_rows`` of them.

    Raises:
        DataError: more bad rows than that; the first ones are all named.
    """
    faults: list[Fault] = [] if set_aside is None else set_aside
    for attempt in attempts_of(source):
        if isinstance(attempt, Example):
            yield attempt
            continue
        faults.append(attempt)
        if len(faults) >= bad_rows + MOST_SHOWN:
            break
    if len(faults) > bad_rows:
        raise DataError(*faults[:MOST_SHOWN])
