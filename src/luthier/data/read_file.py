"""One reader for each kind of file: a path -> the blocks of its rows, none of them held longer than it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from luthier.data.arrow_file import arrow_count, arrow_rows
from luthier.data.block import BYTES, ROWS, Block, Broken, object_row
from luthier.data.csv_rows import csv_rows
from luthier.data.json_rows import json_rows
from luthier.data.lines import bounded, lines_of
from luthier.data.text_file import open_text, suffix_of
from luthier.errors import DataError, Fault

Numbered = tuple[int, bytes | dict[str, Any] | Broken, int]
"""A row, its number before it and about how many bytes it is after it; 0 where that is not known."""


def blocks_in(path: Path) -> Iterator[Block]:
    """The blocks of a file.

    Raises:
        DataError: the file cannot be read; a row that cannot is part of its block.
    """
    return READERS[suffix_of(path)](path)


def in_blocks(name: str, rows: Iterable[Numbered]) -> Iterator[Block]:
    """Rows in blocks of ROWS, or of fewer where those hold BYTES already."""
    numbers: list[int] = []
    some: list[bytes | dict[str, Any] | Broken] = []
    held = 0
    for number, row, size in rows:
        numbers.append(number)
        some.append(row)
        held += size
        if len(some) >= ROWS or held >= BYTES:
            yield Block(name, numbers, some)
            numbers, some, held = [], [], 0
    if some:
        yield Block(name, numbers, some)


def _jsonl(path: Path) -> Iterator[Block]:
    return in_blocks(str(path), _jsonl_rows(path))


def _jsonl_rows(path: Path) -> Iterator[Numbered]:
    for number, line in enumerate(lines_of(path), 1):
        if isinstance(line, Broken):
            yield number, line, 0
        elif not line.isspace():
            yield number, line, len(line)


def _json(path: Path) -> Iterator[Block]:
    with open_text(path) as file:
        rows = json_rows(file, path)
        if rows is not None:
            yield from in_blocks(str(path), ((-n, _object(value, path, n), size) for n, value, size in rows))
            return
    yield from _jsonl(path)


def _object(value: Any, path: Path, number: int) -> dict[str, Any] | Broken:
    try:
        return object_row(value, f"{path}:#{number}").value
    except DataError as error:
        return Broken(error.faults[0], value if isinstance(value, (str, list)) else json.dumps(value))


def _csv(path: Path) -> Iterator[Block]:
    return in_blocks(str(path), _csv_rows(path))


def _csv_rows(path: Path) -> Iterator[Numbered]:
    with open_text(path) as file:
        yield from csv_rows(file, path, "\t" if suffix_of(path) == ".tsv" else ",")


def _parquet(path: Path) -> Iterator[Block]:
    rows = (value for batch in _open_parquet(path).iter_batches(batch_size=ROWS) for value in batch.to_pylist())
    return in_blocks(str(path), ((-number, value, 0) for number, value in enumerate(rows, 1)))


def parquet_rows(path: Path) -> int:
    """How many rows a Parquet file has.

    Raises:
        DataError: it is none.
    """
    return int(_open_parquet(path).metadata.num_rows)


def _open_parquet(path: Path) -> Any:
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"is not Parquet: {error}", place=str(path), remedy="write the file anew") from error


def _arrow(path: Path) -> Iterator[Block]:
    return in_blocks(str(path), ((-number, value, 0) for number, value in enumerate(arrow_rows(path), 1)))


def rows_known(path: Path) -> int | None:
    """How many rows a file has that says so itself.

    Raises:
        DataError: it is not of its kind.
    """
    counted = {".parquet": parquet_rows, ".arrow": arrow_count}.get(suffix_of(path))
    return None if counted is None else counted(path)


def _txt(path: Path) -> Iterator[Block]:
    return in_blocks(str(path), _txt_rows(path))


def _txt_rows(path: Path) -> Iterator[Numbered]:
    with open_text(path) as file:
        number = 0
        for chunk in bounded(file.readline, path):
            if isinstance(chunk, Broken):
                number += 1
                yield number, chunk, 0
                continue
            for line in chunk.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n"):
                number += 1
                if "\0" in line:
                    reason = "holds NUL characters"
                    yield number, Broken(Fault(reason, f"{path}:{number}", "copy the file anew"), line), len(line)
                elif line.strip():
                    yield number, {"text": line}, len(line)


READERS: dict[str, Callable[[Path], Iterator[Block]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".txt": _txt,
}

NO_TEXT = (".parquet", ".arrow")
"""Kinds of files that are no text: they are not packed, and have no encoding."""
