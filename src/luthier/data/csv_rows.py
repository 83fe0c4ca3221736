"""Rows of a table in text: a row whose quotes are wrong is one bad row, whatever lines it took."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from luthier.data import lines
from luthier.data.block import Broken
from luthier.errors import DataError, Fault

HELD = 1 << 20
"""Characters of a bad row that are kept."""

_QUOTES = 'close the quotes; write " as ""'
_WIDTH = "put quotes around text that holds the delimiter or a line break"


def csv_rows(file: TextIO, path: Path, delimiter: str) -> Iterator[tuple[int, dict[str, Any] | Broken, int]]:
    """(line, row by the header's columns, characters) of each row that is not empty.

    Raises:
        DataError: there is no header, or it is no CSV.
    """
    csv.field_size_limit(lines.LONGEST)
    text = _Lines(file, path)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise DataError(_no_csv(error, path, 1, text)) from error
    if not header:
        raise DataError("is empty", place=str(path), remedy="write a header line and rows")
    while True:
        text.begin()
        number = text.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            broken = Broken(_no_csv(error, path, number, text), "".join(text.held))
            yield number, broken, len(broken.raw)
            continue
        if cells is None:
            return
        if cells:
            yield number, _row(cells, header, f"{path}:{number}"), sum(map(len, cells))


class _Overlong(csv.Error):
    """A line that is longer than a row may be."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"it {fault.reason}")
        self.remedy = fault.remedy


class _Lines:
    """The lines of a file for ``csv``, and those of the row that is being read."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._lines = lines.bounded(file.readline, path)
        self.number = 0
        self.begin()

    def begin(self) -> None:
        """The next line begins a row."""
        self.held: list[str] = []
        self._size = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        self._hold(line if isinstance(line, str) else str(line.raw))
        if isinstance(line, Broken):
            raise _Overlong(line.fault)
        return line

    def _hold(self, line: str) -> None:
        self._size += len(line)
        if self._size <= HELD or not self.held:
            self.held.append(line)


def _no_csv(error: csv.Error, path: Path, number: int, text: _Lines) -> Fault:
    more = f" (the row goes on to line {text.number:,})" if text.number > number else ""
    remedy = error.remedy if isinstance(error, _Overlong) else _QUOTES
    return Fault(f"is not CSV: {error}{more}", f"{path}:{number}", remedy)


def _row(cells: list[str], header: list[str], origin: str) -> dict[str, Any] | Broken:
    if len(cells) != len(header):
        return Broken(Fault(f"has {len(cells)} cells where the header has {len(header)}", origin, _WIDTH), cells)
    if any("\0" in cell for cell in cells):
        return Broken(Fault("holds NUL characters", origin, "copy the file anew, or remove the row"), cells)
    return dict(zip(header, cells, strict=True))
