"""Where rows come from: local files, directories of them, datasets on the hub. Every row keeps its origin."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from luthier.data.block import Block, Part, rows_in
from luthier.data.example import Row
from luthier.data.read_file import READERS, Numbered, blocks_in, in_blocks
from luthier.data.text_file import read_errors, suffix_of
from luthier.errors import DataError, Fault
from luthier.recipe.data import Source

SUFFIXES = tuple(READERS)
"""Each of them, but Parquet, may be packed: rows.jsonl.gz."""

_ENDINGS = (*SUFFIXES, *(f"{suffix}.gz" for suffix in SUFFIXES))


def files_of(source: Source) -> list[Path]:
    """The local files of a source, sorted; empty for a dataset on the hub.

    Raises:
        DataError: the path looks local and is not there, or is a folder without readable files, or without one that
            the source names; or it is neither a file nor a folder.
    """
    path = Path(source.path).expanduser()
    with read_errors(path):
        return _files(source, path)


def _files(source: Source, path: Path) -> list[Path]:
    if path.is_dir() and source.files:
        named = [path / name for name in source.files]
        return [one for inner in named for one in files_of(Source(path=str(inner.absolute())))]
    if path.is_dir():
        found = [Path(inner) for inner in sorted(_below(str(path)), key=lambda inner: inner.split(os.sep))]
        if not found:
            raise DataError(
                f"holds no {' '.join(SUFFIXES)} file", place=str(path), remedy="name the folder of the rows"
            )
        return found
    if path.is_file():
        if suffix_of(path) not in SUFFIXES:
            raise DataError(
                f"has the unknown suffix {path.suffix!r}", place=str(path), remedy=f"use one of {' '.join(SUFFIXES)}"
            )
        return [path]
    if path.exists():
        raise DataError("is neither a file nor a folder", place=str(path), remedy="write its rows into a file first")
    if suffix_of(path) in SUFFIXES or path.is_absolute() or source.path.startswith(".") or source.path.count("/") > 1:
        raise DataError("there is no such file", place=str(path), remedy=_nearby(path))
    return []


def _below(folder: str) -> Iterator[str]:
    """The readable files in a folder and those in it; links to folders are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path)
            elif entry.name.lower().endswith(_ENDINGS) and entry.is_file():
                yield entry.path


def rows_of(source: Source) -> Iterator[Row]:
    """The rows of a source in their order, columns under our names.

    Raises:
        DataError: a file that cannot be read, or a line that is not a row; the message names the line.
    """
    if isinstance(source, Part):
        rows = source.rows_read()
    else:
        rows = (row for block in blocks_of(source) for row in rows_in(block))
    for row in rows:
        if source.columns:
            renamed = {ours: row.value[theirs] for ours, theirs in source.columns.items() if theirs in row.value}
            row = Row(row.origin, {**row.value, **renamed})
        yield row


def blocks_of(source: Source) -> Iterator[Block]:
    """The rows of a source in their order, not yet parsed where they are JSON lines.

    Raises:
        DataError: a file that cannot be read.
    """
    files = files_of(source)
    left = source.rows
    for block in (block for path in files for block in blocks_in(path)) if files else _hub(source):
        if left is not None and len(block.rows) >= left:
            yield Block(block.name, block.numbers[:left], block.rows[:left])
            return
        left = None if left is None else left - len(block.rows)
        yield block


def _nearby(path: Path) -> str:
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    siblings = sorted(inner.name for inner in folder.iterdir())[:8]
    return f"paths start at {Path.cwd()}; {folder} holds: {', '.join(siblings) or 'nothing'}"


def _hub(source: Source) -> Iterator[Block]:
    import datasets

    try:
        files = {"data_files": list(source.files)} if source.files else {}
        rows = datasets.load_dataset(source.path, source.name, split=source.split, **files)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            Fault(
                f"cannot be had from the hub: {reason}",
                source.path,
                "check the name and the connection, or give a local file",
            )
        ) from error
    numbered: Iterator[Numbered] = ((-number, dict(value), 0) for number, value in enumerate(rows, 1))
    yield from in_blocks(f"{source.path}[{source.split}]", numbered)
