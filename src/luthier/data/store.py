"""Tokenised documents in flat arrays on disk: written as they come, mapped into memory and never loaded whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from luthier.data.origins import Origins, Pairs, Places
from luthier.data.tokens import Tokens
from luthier.errors import DataError

ARRAYS: dict[str, tuple[type[np.generic], int]] = {
    "ids": (np.int32, 0),
    "trained": (np.bool_, 0),
    "offsets": (np.int64, 0),
    "targets": (np.int64, 0),
    "digests": (np.uint64, 2),
    "origins": (np.int64, 2),
}
"""The files of a store: the type of an item, and of how many such items an entry is made (0: it is one itself)."""

Digests = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class TokenStore:
    """Documents [0, n): ``ids`` and ``trained`` are flat over all of them, ``offsets`` [n + 1] bounds each.

    ``targets`` [n] counts each one's tokens that give a loss; ``digests`` [n, 2] is 0 where none was taken, else two
    halves of a hash of its ids; ``origins`` [n] are the rows they came from; ``summary`` is what preparation counted;
    ``key`` is the hash of all that made a stored one.
    """

    ids: npt.NDArray[np.int32]
    trained: npt.NDArray[np.bool_]
    offsets: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    digests: Digests
    origins: Origins
    summary: dict[str, Any]
    key: str = ""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Tokens:
        part = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return Tokens(self.ids[part], self.trained[part], self.origins[index])

    def __iter__(self) -> Iterator[Tokens]:
        return (self[index] for index in range(len(self)))

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each document [n]."""
        return np.diff(self.offsets)

    @cached_property
    def sources(self) -> npt.NDArray[np.int64]:
        """Which source each document came from [n], by its place among them; they lie one source after the other."""
        counts = self.summary.get("documents_by_source", [len(self)])
        return np.repeat(np.arange(len(counts)), counts)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some documents, flat like a store: ``ids`` and ``trained`` [tokens]; ``lengths``, ``origins``, ``heads`` [n]."""

    ids: npt.NDArray[np.int32]
    trained: npt.NDArray[np.bool_]
    lengths: npt.NDArray[np.int64]
    origins: Sequence[str] | Origins
    heads: Sequence[int]

    @classmethod
    def of(cls, documents: Sequence[Tokens]) -> Batch:
        """The documents side by side."""
        return cls(
            np.concatenate([tokens.ids for tokens in documents]) if documents else np.zeros(0, np.int32),
            np.concatenate([tokens.trained for tokens in documents]) if documents else np.zeros(0, np.bool_),
            np.fromiter((len(tokens) for tokens in documents), dtype=np.int64, count=len(documents)),
            [tokens.origin for tokens in documents],
            [tokens.head for tokens in documents],
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def bounds(self) -> npt.NDArray[np.int64]:
        """Where each document begins and the last one ends [n + 1]."""
        return np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """Tokens of each document that give a loss [n]: trained ones that have one before them."""
        counts = np.concatenate([[0], np.cumsum(self.trained, dtype=np.int64)])
        bounds = self.bounds
        first = np.zeros(len(self.lengths), np.int64)
        filled = self.lengths > 0
        first[filled] = self.trained[bounds[:-1][filled]]
        total: npt.NDArray[np.int64] = counts[bounds[1:]] - counts[bounds[:-1]] - first
        return total

    def documents(self) -> list[Tokens]:
        """One by one."""
        bounds = self.bounds.tolist()
        return [
            Tokens(self.ids[start:stop], self.trained[start:stop], origin, head)
            for start, stop, origin, head in zip(bounds[:-1], bounds[1:], self.origins, self.heads, strict=True)
        ]


class Writer:
    """Writes a store batch by batch into a directory, and holds none of it.

    Every file is a ``.npy`` from the start: numpy's header leaves room for a longer length, which is filled in at the
    end. The summary comes last, so that a store without one is not whole.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._counts = dict.fromkeys(ARRAYS, 0)
        self._places = Places()
        self._end = 0
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            for name in ARRAYS:
                self._files[name] = opened.enter_context((self._directory / f"{name}.npy").open("wb"))
                self._header(name)
            self._append("offsets", np.zeros(1, np.int64))
            opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()

    def __len__(self) -> int:
        return self._counts["targets"]

    def add(self, batch: Batch, digests: Digests | None = None) -> None:
        """Append documents.

        Raises:
            OSError: the disk is full, and the like.
        """
        if not len(batch):
            return
        self._append("ids", batch.ids)
        self._append("trained", batch.trained)
        self._append("offsets", batch.bounds[1:] + self._end)
        self._append("targets", batch.targets)
        self._append("digests", np.zeros((len(batch), 2), np.uint64) if digests is None else digests)
        self._append("origins", self._pairs(batch.origins))
        self._end += len(batch.ids)

    def close(self, summary: dict[str, Any]) -> None:
        """Make it whole."""
        for name, file in self._files.items():
            self._header(name)
            file.close()
        names = json.dumps(self._places.names, ensure_ascii=True)
        (self._directory / "names.json").write_text(names, encoding="utf-8")
        text = json.dumps(summary, ensure_ascii=False, indent=1)
        (self._directory / "summary.json").write_text(text, encoding="utf-8", errors="backslashreplace")

    def _pairs(self, origins: Sequence[str] | Origins) -> Pairs:
        """Index of the name, among all those of the store, and number of each origin [n, 2]."""
        if not isinstance(origins, Origins):
            return self._places.of(origins)
        index = self._places.of(f"{name}:1" for name in origins.names)[:, 0]
        return np.stack([index[origins.places[:, 0]], origins.places[:, 1]], axis=1)

    def _append(self, name: str, values: npt.NDArray[Any]) -> None:
        self._files[name].write(np.ascontiguousarray(values, dtype=ARRAYS[name][0]).data)
        self._counts[name] += len(values)

    def _header(self, name: str) -> None:
        kind, wide = ARRAYS[name]
        shape = (self._counts[name], wide) if wide else (self._counts[name],)
        form = {"descr": np.lib.format.dtype_to_descr(np.dtype(kind)), "fortran_order": False, "shape": shape}
        file = self._files[name]
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, form)


def collect(documents: Iterable[Tokens], summary: dict[str, Any]) -> TokenStore:
    """A store of documents held in memory."""
    batch = Batch.of(list(documents))
    return TokenStore(
        ids=batch.ids,
        trained=batch.trained,
        offsets=batch.bounds,
        targets=batch.targets,
        digests=np.zeros((len(batch), 2), np.uint64),
        origins=Origins.of(batch.origins),
        summary=summary,
    )


def save(store: TokenStore, directory: Path) -> None:
    """Write a store that is in memory."""
    with Writer(directory) as writer:
        heads = [0] * len(store)
        writer.add(Batch(store.ids, store.trained, store.lengths, list(store.origins), heads), store.digests)
        writer.close(store.summary)


def load(directory: Path) -> TokenStore:
    """Map a saved store into memory.

    Raises:
        DataError: a file of it is missing or damaged.
    """
    try:
        arrays = {name: np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
        names = json.loads((directory / "names.json").read_text(encoding="utf-8"))
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        _check(arrays)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(
            f"the prepared data are damaged: {error}", place=str(directory), remedy="delete this folder"
        ) from error
    origins = Origins(tuple(names), arrays.pop("origins"))
    return TokenStore(summary=summary, key=directory.name, origins=origins, **arrays)


def _check(arrays: dict[str, Any]) -> None:
    offsets, count = arrays["offsets"], len(arrays["targets"])
    ends = {int(offsets[-1]), len(arrays["ids"]), len(arrays["trained"])}
    each = {len(offsets) - 1, count, len(arrays["origins"]), len(arrays["digests"])}
    if len(ends) > 1 or len(each) > 1:
        raise ValueError("its files are not of one length")
