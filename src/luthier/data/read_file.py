"""One reader for each kind of file: a path -> the blocks of its rows, none of them held longer than it is read."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from luthier.data.block import BYTES, ROWS, Block, Broken, object_row
from luthier.data.text_file import lines_of, open_text, suffix_of
from luthier.errors import DataError, Fault

Numbered = tuple[int, dict[str, Any] | Broken]


def blocks_in(path: Path) -> Iterator[Block]:
    """The blocks of a file.

    Raises:
        DataError: the file cannot be read; a row that cannot is part of its block.
    """
    return READERS[suffix_of(path)](path)


def in_blocks(name: str, rows: Iterable[Numbered]) -> Iterator[Block]:
    """Rows with their numbers, in blocks."""
    stream = iter(rows)
    while some := tuple(islice(stream, ROWS)):
        yield Block(name, [number for number, _ in some], [row for _, row in some])


def _jsonl(path: Path) -> Iterator[Block]:
    numbers: list[int] = []
    rows: list[bytes] = []
    size = 0
    for number, line in enumerate(lines_of(path), 1):
        if line.isspace():
            continue
        numbers.append(number)
        rows.append(line)
        size += len(line)
        if len(rows) >= ROWS or size >= BYTES:
            yield Block(str(path), numbers, rows)
            numbers, rows, size = [], [], 0
    if rows:
        yield Block(str(path), numbers, rows)


def _json(path: Path) -> Iterator[Block]:
    with open_text(path) as file:
        text = file.read()
    if not text.strip():
        raise DataError("is empty", place=str(path), remedy="write a list of objects")
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            yield from _jsonl(path)
            return
        raise DataError(
            f"is not JSON: {error.msg}", place=f"{path}:{error.lineno}", remedy="write a list of objects"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"is not JSON: {error}", place=str(path), remedy="write a list of objects") from error
    if isinstance(value, dict):
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        value = lists[0] if len(lists) == 1 and len(value) == 1 else [value]
    if not isinstance(value, list):
        object_row(value, str(path))
    yield from in_blocks(str(path), ((-n, _object(inner, f"{path}:#{n}")) for n, inner in enumerate(value, 1)))


def _object(value: Any, origin: str) -> dict[str, Any] | Broken:
    try:
        return object_row(value, origin).value
    except DataError as error:
        return Broken(error.faults[0], value if isinstance(value, (str, list)) else json.dumps(value))


def _csv(path: Path) -> Iterator[Block]:
    return in_blocks(str(path), _csv_rows(path))


def _csv_rows(path: Path) -> Iterator[Numbered]:
    csv.field_size_limit(2**31 - 1)
    with open_text(path) as file:
        reader = csv.reader(file, delimiter="\t" if suffix_of(path) == ".tsv" else ",", strict=True)
        try:
            header = next(reader, None)
            if not header:
                raise DataError("is empty", place=str(path), remedy="write a header line and rows")
            line = reader.line_num + 1
            for cells in reader:
                number, line = line, reader.line_num + 1
                if cells:
                    yield number, _cells(cells, header, f"{path}:{number}")
        except csv.Error as error:
            raise DataError(
                f"is not CSV: {error}", place=f"{path}:{reader.line_num}", remedy='close the quotes; write " as ""'
            ) from error


def _cells(cells: list[str], header: list[str], origin: str) -> dict[str, Any] | Broken:
    if len(cells) != len(header):
        reason = f"has {len(cells)} cells where the header has {len(header)}"
        return Broken(Fault(reason, origin, "put quotes around text that holds the delimiter or a line break"), cells)
    if any("\0" in cell for cell in cells):
        return Broken(Fault("holds NUL characters", origin, "copy the file anew, or remove the row"), cells)
    return dict(zip(header, cells, strict=True))


def _parquet(path: Path) -> Iterator[Block]:
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"is not Parquet: {error}", place=str(path), remedy="write the file anew") from error
    rows = (value for batch in file.iter_batches(batch_size=ROWS) for value in batch.to_pylist())
    return in_blocks(str(path), ((-number, value) for number, value in enumerate(rows, 1)))


def _txt(path: Path) -> Iterator[Block]:
    return in_blocks(str(path), _txt_rows(path))


def _txt_rows(path: Path) -> Iterator[Numbered]:
    with open_text(path) as file:
        number = 0
        for chunk in file:
            for line in chunk.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n"):
                number += 1
                if "\0" in line:
                    reason = "holds NUL characters"
                    yield number, Broken(Fault(reason, f"{path}:{number}", "copy the file anew"), line)
                elif line.strip():
                    yield number, {"text": line}


READERS: dict[str, Callable[[Path], Iterator[Block]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".txt": _txt,
}
