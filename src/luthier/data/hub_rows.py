"""Rows of datasets on the hub: downloaded whole and kept, or streamed, of which only what is read is fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from luthier.data.block import Block, between
from luthier.data.read_file import Numbered, in_blocks
from luthier.data.split import name_of, stretches_of
from luthier.errors import DataError
from luthier.recipe.source import Source


def hub_state(source: Source) -> str:
    """What tells one state of a dataset's rows from another, which its name does not.

    Raises:
        DataError: the dataset cannot be had.
    """
    if source.streaming:
        return _commit(source.path, source.revision)
    return str(getattr(_downloaded(source), "_fingerprint", ""))


def hub_blocks(source: Source) -> Iterator[Block]:
    """The rows that a source's split names.

    Raises:
        DataError: the dataset cannot be had, or it is streamed and the split asks for a share of rows not yet counted.
    """
    if not source.streaming:
        yield from _blocks(f"{source.path}[{source.split}]", enumerate(_downloaded(source), 1))
        return
    for part in source.split.split("+"):
        (stretch,) = stretches_of(part, source.path)
        if stretch.relative:
            raise DataError(
                f"{part.strip()!r} asks for a share of rows that are not counted, since they are streamed",
                place=f"{source.path}: split",
                remedy="write how many rows: train[:500]",
            )
        rows = enumerate(_of_hub(_streamed(source, name_of(part)), source), 1)
        yield from between(_blocks(f"{source.path}[{name_of(part)}]", rows), stretch.start or 0, stretch.stop)


def _blocks(name: str, rows: Iterator[tuple[int, Any]]) -> Iterator[Block]:
    numbered: Iterator[Numbered] = ((-number, dict(value), 0) for number, value in rows)
    return in_blocks(name, numbered)


def _downloaded(source: Source) -> Any:
    return _asked(*_named(source, source.split))


def _streamed(source: Source, split: str) -> Any:
    return _opened(*_named(source, split))


def _named(source: Source, split: str) -> tuple[str, str | None, str, str | None, tuple[str, ...]]:
    return source.path, source.name, split, source.revision, tuple(source.files)


@lru_cache(maxsize=64)
def _opened(*named: Any) -> Any:
    """A streamed dataset, whose rows begin anew whenever they are asked for; finding its files takes many requests."""
    return _asked(*named, streaming=True)


def _asked(
    path: str,
    name: str | None,
    split: str,
    revision: str | None,
    files: tuple[str, ...],
    *,
    streaming: bool = False,
) -> Any:
    import datasets

    given = {"data_files": list(files)} if files else {}
    with _errors(path):
        return datasets.load_dataset(path, name, split=split, revision=revision, streaming=streaming, **given)


def _of_hub(rows: Any, source: Source) -> Iterator[Any]:
    """The rows as they come; the connection may end at any of them."""
    with _errors(source.path):
        yield from rows


@lru_cache(maxsize=64)
def _commit(path: str, revision: str | None) -> str:
    import huggingface_hub

    with _errors(path):
        return str(huggingface_hub.HfApi().dataset_info(path, revision=revision).sha)


@contextmanager
def _errors(path: str) -> Iterator[None]:
    """Whatever the hub or its libraries answer with, as an error of the data."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"cannot be had from the hub: {reason}",
            place=path,
            remedy="check the name and the connection, or give a local file",
        ) from error
