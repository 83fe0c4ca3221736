"""Where rows come from: local files, directories of them, datasets on the hub. Every row keeps its origin."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from luthier.data.arrow_file import saved_files
from luthier.data.block import Block, Part, between, rows_in
from luthier.data.example import Row
from luthier.data.hub_rows import hub_blocks
from luthier.data.read_file import NO_TEXT, READERS, blocks_in, rows_known
from luthier.data.split import stretches_of
from luthier.data.text_file import PACKED, read_errors, suffix_of
from luthier.errors import DataError
from luthier.recipe.source import Source

SUFFIXES = tuple(READERS)
"""Those of text may be packed: rows.jsonl.gz, rows.jsonl.zst."""

_ENDINGS = (*SUFFIXES, *(f"{suffix}{packed}" for suffix in SUFFIXES if suffix not in NO_TEXT for packed in PACKED))


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
    if path.is_dir() and (saved := saved_files(path, source.split)) is not None:
        return saved
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
        DataError: a file that cannot be read, or a split that names no rows.
    """
    files = files_of(source)
    blocks = _of_split(source, files) if files else hub_blocks(source)
    if source.shards is not None:
        blocks = _every(blocks, source.shards, source.shard)
    stop = None if source.rows is None else source.skip + source.rows
    return blocks if stop is None and not source.skip else between(blocks, source.skip, stop)


def rows_taken(source: Source) -> tuple[int, int] | None:
    """How many rows a source of local files takes, and of how many; None where it takes all, or no more is asked than
    so many of the first.

    Raises:
        DataError: as ``blocks_of``.
    """
    files = files_of(source)
    whole = all(one.whole for one in stretches_of(source.split, source.path)) if files else True
    if not files or (whole and not source.skip and source.shards is None):
        return None
    count = sum(map(_count, files))
    bounds = [stretch.bounds(count) for stretch in stretches_of(source.split, source.path)]
    taken = sum(stop - start for start, stop in bounds)
    if source.shards is not None:
        taken = len(range(source.shard, taken, source.shards))
    taken = max(0, taken - source.skip)
    return (taken if source.rows is None else min(taken, source.rows)), count


def _of_split(source: Source, files: list[Path]) -> Iterator[Block]:
    """The rows of local files that the split names; all of them are one split, whatever it is called."""
    for stretch in stretches_of(source.split, source.path):
        start, stop = (0, None) if stretch.whole else (stretch.start or 0, stretch.stop)
        if stretch.relative:
            start, stop = stretch.bounds(sum(map(_count, files)))
        blocks = (block for path in files for block in blocks_in(path))
        yield from blocks if stretch.whole else between(blocks, start, stop)


def _every(blocks: Iterator[Block], step: int, first: int) -> Iterator[Block]:
    """Every ``step``-th row from the one at ``first`` on, counted over all blocks."""
    at = 0
    for block in blocks:
        part = slice((first - at) % step, None, step)
        at += len(block.rows)
        if len(block.rows[part]):
            yield Block(block.name, block.numbers[part], block.rows[part])


def _count(path: Path) -> int:
    """How many rows a file has."""
    with read_errors(path):
        found = path.stat()
    return _counted(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=256)
def _counted(path: Path, size: int, changed: int) -> int:
    known = rows_known(path)
    return known if known is not None else sum(len(block.rows) for block in blocks_in(path))


def _nearby(path: Path) -> str:
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    siblings = sorted(inner.name for inner in folder.iterdir())[:8]
    return f"paths start at {Path.cwd()}; {folder} holds: {', '.join(siblings) or 'nothing'}"
