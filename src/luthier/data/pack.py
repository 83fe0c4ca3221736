"""Documents -> packs: which documents share a row of tokens.

Best-fit decreasing (Johnson 1973; for language models Ding et al. 2024, "Fewer Truncations Improve Language Modeling"):
documents go by falling length, each into the pack with the least room that still takes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Packs:
    """Pack ``p`` holds the documents ``documents[starts[p] : starts[p + 1]]``."""

    documents: Ints
    starts: Ints

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, pack: int) -> Ints:
        return self.documents[self.starts[pack] : self.starts[pack + 1]]

    def taken(self, order: Ints) -> Packs:
        """The packs in another order."""
        sizes = np.diff(self.starts)[order]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        inner = np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)
        return Packs(self.documents[np.repeat(self.starts[:-1][order], sizes) + inner], starts)


def one_each(documents: Ints) -> Packs:
    """Every document in a pack of its own, in the given order."""
    return Packs(documents, np.arange(len(documents) + 1))


def best_fit(documents: Ints, lengths: Ints, capacity: int) -> Packs:
    """Best-fit decreasing. ``lengths[d]`` is document d's; none may exceed ``capacity``.

    Works on whole groups of equal length and equal room, so that its cost is O(n log n + capacity^2) with a small
    constant; the result is the same as placing one document after another.

    >>> packs = best_fit(np.arange(4), np.array([6, 5, 4, 3]), 10)
    >>> [list(map(int, packs[p])) for p in range(len(packs))]
    [[0, 2], [1, 3]]
    """
    own = lengths[documents]
    assert len(own) == 0 or int(own.max()) <= capacity, "a document longer than a pack"
    falling = np.argsort(-own, kind="stable")
    distinct, counts = np.unique(own, return_counts=True)
    pack_of = np.empty(len(documents), np.int64)
    with_room: dict[int, list[Ints]] = {}
    opened = done = 0
    for length, count in zip(distinct[::-1].tolist(), counts[::-1].tolist(), strict=True):
        group = falling[done : done + count]
        done += count
        placed = 0
        for room in sorted(room for room in with_room if room >= length):
            if placed == count:
                break
            packs = np.concatenate(with_room.pop(room))
            placed += _fill(packs, room, length, group[placed:], pack_of, with_room)
        if placed < count:
            needed = -(-(count - placed) // (capacity // length))
            fresh = np.arange(opened, opened + needed)
            opened += needed
            _fill(fresh, capacity, length, group[placed:], pack_of, with_room)
    order = falling[np.argsort(pack_of[falling], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(pack_of, minlength=opened))]).astype(np.int64)
    return Packs(documents[order], starts)


def _fill(packs: Ints, room: int, length: int, group: Ints, pack_of: Ints, with_room: dict[int, list[Ints]]) -> int:
    """Put documents of one length into packs of one room, pack by pack; returns how many found a place."""
    each = room // length
    full, rest = divmod(min(len(group), each * len(packs)), each)
    taken = full * each + rest
    pack_of[group[:taken]] = np.repeat(packs[: full + (rest > 0)], each)[:taken]
    for left, part in (
        (room - each * length, packs[:full]),
        (room - rest * length, packs[full : full + 1] if rest else packs[:0]),
        (room, packs[full + (rest > 0) :]),
    ):
        if left and len(part):
            with_room.setdefault(left, []).append(part)
    return taken
