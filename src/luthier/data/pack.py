"""Packs: which documents, or pieces of documents, share a row of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Piece(NamedTuple):
    """The tokens [begin, end) of a document, which count as a document of their own."""

    document: int
    begin: int
    end: int


Item = int | Piece
"""A whole document, or a piece of one."""


@dataclass(frozen=True, slots=True)
class Packs:
    """Pack ``p`` holds the documents ``documents[starts[p] : starts[p + 1]]``.

    ``begins`` and ``ends`` are None where all documents are whole; else entry ``i`` is the tokens
    ``[begins[i], ends[i])`` of ``documents[i]``.
    """

    documents: Ints
    starts: Ints
    begins: Ints | None = None
    ends: Ints | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, pack: int) -> Ints:
        return self.documents[self.starts[pack] : self.starts[pack + 1]]

    def items(self, first: int, stop: int) -> list[Item]:
        """What the packs [first, stop) hold, end to end."""
        part = slice(int(self.starts[first]), int(self.starts[stop]))
        documents: list[int] = self.documents[part].tolist()
        if self.begins is None or self.ends is None:
            return list(documents)
        return [*map(Piece, documents, self.begins[part].tolist(), self.ends[part].tolist())]

    def lengths(self, of_documents: Ints) -> Ints:
        """Tokens of each entry; ``of_documents[d]`` is document d's length."""
        if self.begins is None or self.ends is None:
            return of_documents[self.documents]
        return self.ends - self.begins

    def taken(self, order: Ints) -> Packs:
        """Packs of whole documents in another order."""
        assert self.begins is None, "pieces have one order: their documents'"
        sizes = np.diff(self.starts)[order]
        starts = _bounds(sizes)
        inner = np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)
        return Packs(self.documents[np.repeat(self.starts[:-1][order], sizes) + inner], starts)

    def split_up(self, count: int) -> Packs:
        """``count`` packs of the same documents, made by dividing some of them; there are no fewer documents."""
        inside = np.delete(np.arange(len(self.documents)), self.starts[:-1])
        missing = count - len(self)
        chosen = inside[np.arange(missing) * len(inside) // max(1, missing)]
        return Packs(self.documents, np.sort(np.concatenate([self.starts, chosen])))


def one_each(documents: Ints) -> Packs:
    """Every document in a pack of its own, in the given order."""
    return Packs(documents, np.arange(len(documents) + 1))


def joined(parts: Sequence[Packs]) -> Packs:
    """Packs of whole documents, one after another."""
    if len(parts) == 1:
        return parts[0]
    sizes = np.concatenate([np.diff(part.starts) for part in parts])
    return Packs(np.concatenate([part.documents for part in parts]), _bounds(sizes))


def concatenate(documents: Ints, lengths: Ints, capacity: int, rows: int | None = None) -> Packs:
    """Documents laid end to end in the given order and cut after every ``capacity`` tokens.

    Args:
        rows: how many packs to make instead of all. Where they have room for more tokens than there are, they are cut
            evenly; where they have less, what is left is not used.

    >>> packs = concatenate(np.array([1, 0]), np.array([3, 4]), 5)
    >>> packs.items(0, 1), packs.items(1, 2)
    ([Piece(document=1, begin=0, end=4), Piece(document=0, begin=0, end=1)], [Piece(document=0, begin=1, end=3)])
    """
    bounds = _bounds(lengths[documents])
    total = int(bounds[-1])
    needed = -(-total // capacity)
    rows = needed if rows is None else rows
    cuts = np.arange(rows + 1) * total // rows if rows > needed else np.minimum(np.arange(rows + 1) * capacity, total)
    documents = documents[: np.searchsorted(bounds, cuts[-1])]
    begun = bounds[: len(documents)]
    inside = np.searchsorted(begun, cuts[:-1], side="right")
    within = begun[inside - 1] != cuts[:-1]
    edges = np.insert(begun, inside[within], cuts[:-1][within])
    at = np.repeat(np.arange(len(documents)), 1 + np.bincount(inside[within] - 1, minlength=len(documents)))
    begins = edges - begun[at]
    ends = np.append(edges[1:], cuts[-1]) - begun[at]
    return Packs(documents[at], np.searchsorted(edges, cuts), begins, ends)


def _bounds(sizes: Ints) -> Ints:
    bounds = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=bounds[1:])
    return bounds
