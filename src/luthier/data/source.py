"""Where rows come from: local files, directories of them, datasets on the hub. Every row keeps its origin."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from luthier.data.example import Row
from luthier.errors import DataError, Fault
from luthier.recipe.data import Source

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")


def files_of(source: Source) -> list[Path]:
    """The local files of a source, sorted; empty for a dataset on the hub.

    Raises:
        DataError: the path looks local and is not there, or is a folder without readable files.
    """
    path = Path(source.path).expanduser()
    if path.is_dir():
        found = sorted(inner for inner in path.rglob("*") if inner.suffix in SUFFIXES and inner.is_file())
        if not found:
            raise DataError(
                f"holds no {' '.join(SUFFIXES)} file", place=str(path), remedy="name the folder of the rows"
            )
        return found
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise DataError(
                f"has the unknown suffix {path.suffix!r}", place=str(path), remedy=f"use one of {' '.join(SUFFIXES)}"
            )
        return [path]
    if path.suffix in SUFFIXES or path.is_absolute() or source.path.startswith(".") or source.path.count("/") > 1:
        raise DataError("there is no such file", place=str(path), remedy=_nearby(path))
    return []


def rows_of(source: Source) -> Iterator[Row]:
    """The rows of a source in their order, columns under our names.

    Raises:
        DataError: a file that cannot be read, or a line that is not a row; the message names the line.
    """
    files = files_of(source)
    rows = (row for path in files for row in _READERS[path.suffix](path)) if files else _hub(source)
    for row in islice(rows, source.rows):
        if source.columns:
            renamed = {ours: row.value[theirs] for ours, theirs in source.columns.items() if theirs in row.value}
            row = Row(row.origin, {**row.value, **renamed})
        yield row


def _nearby(path: Path) -> str:
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    siblings = sorted(inner.name for inner in folder.iterdir())[:8]
    return f"paths start at {Path.cwd()}; {folder} holds: {', '.join(siblings) or 'nothing'}"


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"is not UTF-8 text (byte {error.start})", place=str(path), remedy="save it as UTF-8"
        ) from error


def _object(value: Any, origin: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(
            f"holds {type(value).__name__}, not an object", place=origin, remedy='write {"column": "text", …}'
        )
    return Row(origin, value)


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            origin = f"{path}:{number}"
            try:
                value = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise DataError(f"is not JSON: {error}", place=origin, remedy="write one object a line") from error
            yield _object(value, origin)


def _json(path: Path) -> Iterator[Row]:
    text = _text(path)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            yield from _jsonl(path)
            return
        raise DataError(
            f"is not JSON: {error.msg}", place=f"{path}:{error.lineno}", remedy="write a list of objects"
        ) from error
    if isinstance(value, dict):
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        value = lists[0] if len(lists) == 1 and len(value) == 1 else [value]
    if not isinstance(value, list):
        _object(value, str(path))
    for number, inner in enumerate(value, 1):
        yield _object(inner, f"{path}:#{number}")


def _csv(path: Path) -> Iterator[Row]:
    delimiter = "\t" if path.suffix == ".tsv" else ","
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if not header:
            raise DataError("is empty", place=str(path), remedy="write a header line and rows")
        line = reader.line_num + 1
        for cells in reader:
            origin = f"{path}:{line}"
            line = reader.line_num + 1
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"has {len(cells)} cells where the header has {len(header)}",
                    place=origin,
                    remedy="put quotes around text that holds the delimiter or a line break",
                )
            yield Row(origin, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise DataError(
            f"is not CSV: {error}", place=f"{path}:{reader.line_num}", remedy='close the quotes; write " as ""'
        ) from error


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowException as error:
        raise DataError(f"is not Parquet: {error}", place=str(path), remedy="write the file anew") from error
    number = 0
    for batch in file.iter_batches():
        for value in batch.to_pylist():
            number += 1
            yield Row(f"{path}:#{number}", value)


def _txt(path: Path) -> Iterator[Row]:
    for number, line in enumerate(io.StringIO(_text(path), newline=None), 1):
        if line.strip():
            yield Row(f"{path}:{number}", {"text": line.removesuffix("\n")})


_READERS = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet, ".txt": _txt}


def _hub(source: Source) -> Iterator[Row]:
    import datasets

    try:
        rows = datasets.load_dataset(source.path, source.name, split=source.split)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            Fault(
                f"cannot be had from the hub: {reason}",
                source.path,
                "check the name and the connection, or give a local file",
            )
        ) from error
    for number, value in enumerate(rows):
        yield Row(f"{source.path}[{source.split}]:#{number + 1}", dict(value))
