"""Consecutive rows of one file as they were read: the piece that one process prepares at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import PrivateAttr

from luthier.data.example import Row
from luthier.errors import DataError, Fault
from luthier.recipe.source import Source

ROWS = 512
"""Rows of a block at most."""

BYTES = 4 << 20
"""A block of lines is full when it holds so many, however few rows they are."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that cannot be used, and the row itself: its text, or its values by column."""

    fault: Fault
    raw: str | dict[str, Any] | list[Any]


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of ``name`` (a file, a dataset): JSON text not yet parsed, values by column, or broken ones.

    ``numbers`` are their lines; of rows without lines, their places in the file below zero.
    """

    name: str
    numbers: Sequence[int]
    rows: Sequence[bytes | dict[str, Any] | Broken]

    def origin(self, at: int) -> str:
        """Where a row came from."""
        return origin_of(self.name, self.numbers[at])

    def raw(self, origin: str) -> str | dict[str, Any] | list[Any]:
        """The row of that origin as it was read."""
        at = next((i for i in range(len(self.rows)) if self.origin(i) == origin), None)
        row = {} if at is None else self.rows[at]
        if isinstance(row, Broken):
            return row.raw
        if isinstance(row, bytes):
            text = row.decode("utf-8", "backslashreplace").rstrip("\r\n")
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                return text
            return value if isinstance(value, dict) else text
        return row


def between(blocks: Iterator[Block], start: int, stop: int | None) -> Iterator[Block]:
    """The rows from ``start`` up to ``stop``, counted over all blocks."""
    at = 0
    for block in blocks:
        size = len(block.rows)
        part = slice(max(start - at, 0), size if stop is None else min(stop - at, size))
        if part.start < part.stop:
            yield block if part == slice(0, size) else Block(block.name, block.numbers[part], block.rows[part])
        at += size
        if stop is not None and at >= stop:
            return


class Part(Source):
    """A source of which only one block is read. Lines that are no rows go to ``broken``."""

    _block: Block = PrivateAttr()
    _broken: list[Broken] = PrivateAttr(default_factory=list)

    @classmethod
    def of(cls, source: Source, block: Block) -> Part:
        """The part of a source that the block is."""
        part = cls.model_construct(**dict(source))
        part._block, part._broken = block, []
        return part

    @property
    def broken(self) -> list[Broken]:
        """Those found so far."""
        return self._broken

    def rows_read(self) -> Iterator[Row]:
        """The rows of the block."""
        return rows_in(self._block, self._broken)


def origin_of(name: str, number: int) -> str:
    """``file:line``, or ``file:#row``."""
    return f"{name}:{number}" if number > 0 else f"{name}:#{-number}"


def rows_in(block: Block, broken: list[Broken] | None = None) -> Iterator[Row]:
    """The rows of a block.

    Raises:
        DataError: a line that is not a row, if there is no list for them.
    """
    for number, raw in zip(block.numbers, block.rows, strict=True):
        origin = origin_of(block.name, number)
        try:
            yield _row(raw, origin)
        except DataError as error:
            if broken is None:
                raise
            broken.append(Broken(error.faults[0], block.raw(origin)))


def _row(raw: bytes | dict[str, Any] | Broken, origin: str) -> Row:
    if isinstance(raw, Broken):
        raise DataError(raw.fault)
    return object_row(parsed(raw, origin) if isinstance(raw, bytes) else raw, origin)


def parsed(line: bytes, origin: str) -> Any:
    """A line of JSON.

    Raises:
        DataError: it is none.
    """
    if b"\0" in line:
        raise DataError(
            "is not JSON: it holds NUL bytes, as a file does that was cut off or is no text",
            place=origin,
            remedy="copy the file anew, or remove the line",
        )
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"is not JSON: it is not UTF-8 text (byte {error.start} of the line is {error.object[error.start]:#04x})",
            place=origin,
            remedy="save the file as UTF-8",
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON: {error}", place=origin, remedy=_remedy(line)) from error


def _remedy(line: bytes) -> str:
    if line.lstrip()[:2] in (b"{'", b"['"):
        return 'write one object a line, with double quotes: {"column": "text"}'
    if line.rstrip()[-1:] not in (b"}", b"]"):
        return "write one object a line; this one is cut off, or goes on in the next line"
    return "write one object a line"


def object_row(value: Any, origin: str) -> Row:
    """A row.

    Raises:
        DataError: the value is not an object.
    """
    if not isinstance(value, dict):
        raise DataError(
            f"holds {type(value).__name__}, not an object", place=origin, remedy='write {"column": "text", …}'
        )
    return Row(origin, value)
