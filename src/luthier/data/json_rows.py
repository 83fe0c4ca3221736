"""The rows of a JSON file as they come: of its list no more is held than the row that is being read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from luthier.data.block import object_row
from luthier.data.lines import LONGEST
from luthier.data.text_file import CHUNK, byte_of
from luthier.errors import DataError

WRAPPED = 32 << 20
"""Characters of an object up to which it is read whole, to see whether it is a row, the first of many, or a frame."""

_AHEAD = 16
"""Characters at the end of what has been read that may be the beginning of a longer word or number."""
_SPACE = re.compile(r"[ \t\n\r]*")
_FRAME = re.compile(r'\{[ \t\n\r]*"(?:[^"\\]|\\.)*"[ \t\n\r]*:[ \t\n\r]*(?=\[)')
_DECODER = json.JSONDecoder()
_REMEDY = "write a list of objects"

Rows = Iterator[tuple[int, Any, int]]
"""(number from 1, value, about how many characters it takes, what stands before it included)."""


def json_rows(file: TextIO, path: Path) -> Rows | None:
    """The rows of a file that holds a list of them, one, or ``{"any name": [rows]}``; None where more than one value
    stands in it, as in JSON lines. Values are those of ``json.loads``.

    Raises:
        DataError: it is empty or, on the way, no JSON: the line is named, the row and the byte.
    """
    text = _Text(file, path)
    first = text.next()
    if not first:
        raise DataError("is empty", place=str(path), remedy=_REMEDY)
    if first == "[":
        return _listed(text)
    if first == "{" and not text.holds(WRAPPED) and (found := text.matches(_FRAME)):
        text.at = found.end()
        return _listed(text, framed=True)
    value = text.value()
    if text.next():
        return None
    if isinstance(value, dict):
        inner = next(iter(value.values())) if len(value) == 1 else None
        value = inner if isinstance(inner, list) else [value]
    if not isinstance(value, list):
        object_row(value, str(path))
    each = text.place // max(1, len(value))
    return ((number, one, each) for number, one in enumerate(value, 1))


def _listed(text: _Text, framed: bool = False) -> Rows:
    """The items of a list, at whose bracket the text is; nothing may follow but the end of its frame."""
    text.at += 1
    number, begun, mark = 0, 0, text.next()
    while mark != "]" or number:
        number += 1
        value = text.value(number)
        yield number, value, text.place - begun
        begun = text.place
        mark = text.next()
        if mark == "]":
            break
        if mark != ",":
            raise text.fault("Expecting ',' delimiter", text.at, number)
        text.at += 1
        text.next()
    text.at += 1
    if framed and text.next() != "}":
        raise text.fault("the object goes on beside its list", text.at, number)
    text.at += framed
    if text.next():
        raise text.fault("it goes on after the end of its list", text.at, number)


class _Text:
    """The text of a file from ``at`` on; ``place`` is where that is, in characters from the beginning."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file, self._path = file, path
        self._held, self._before, self._line, self._ended = "", 0, 1, False
        self.at = 0

    @property
    def place(self) -> int:
        return self._before + self.at

    def next(self) -> str:
        """The next character that is no white space, and go there; none at the end."""
        while True:
            found = _SPACE.match(self._held, self.at)
            self.at = self.at if found is None else found.end()
            if self.at < len(self._held) or self._ended:
                return self._held[self.at : self.at + 1]
            self._more()

    def matches(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The pattern here."""
        return pattern.match(self._held, self.at)

    def holds(self, most: int) -> bool:
        """Whether a value that begins here ends within so many characters, or is wrong there."""
        while True:
            try:
                if self._decoded() is not None:
                    return True
            except DataError:
                return True
            if len(self._held) - self.at >= most:
                return False
            self._more()

    def value(self, row: int = 1) -> Any:
        """The value that begins here; go to its end.

        Raises:
            DataError: there is none.
        """
        while (found := self._decoded(row)) is None:
            if len(self._held) - self.at > LONGEST:
                raise self.fault(f"it is longer than {LONGEST:,} characters", self.at, row)
            self._more()
        value, self.at = found
        return value

    def fault(self, reason: str, at: int, row: int) -> DataError:
        """What is wrong at a place of what is held."""
        line = self._line + self._held.count("\n", 0, at)
        byte = byte_of(self._path, self._before + at)
        cut = self._ended and at >= len(self._held.rstrip())
        return DataError(
            f"is not JSON: {reason} (row {row:,}, byte {byte:,})",
            place=f"{self._path}:{line}",
            remedy="the file is cut off: copy it anew" if cut else _REMEDY,
        )

    def _decoded(self, row: int = 1) -> tuple[Any, int] | None:
        """The value here and its end; None if more text may change it."""
        try:
            value, end = _DECODER.raw_decode(self._held, self.at)
        except json.JSONDecodeError as error:
            open_end = error.msg.startswith("Unterminated string") or error.pos >= len(self._held) - _AHEAD
            if open_end and not self._ended:
                return None
            raise self.fault(error.msg, error.pos, row) from error
        except (ValueError, RecursionError) as error:
            raise self.fault(str(error), self.at, row) from error
        closed = self._held[end - 1] in '}]"' or end + _AHEAD <= len(self._held)
        return (value, end) if closed or self._ended else None

    def _more(self) -> None:
        """Read on, twice as much as is left of what was read; what has been passed is let go."""
        self._line += self._held.count("\n", 0, self.at)
        self._before += self.at
        rest = self._held[self.at :]
        read = self._file.read(max(CHUNK, len(rest)))
        self._held, self.at, self._ended = rest + read, 0, not read
