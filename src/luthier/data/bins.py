"""Bin packing: whole documents into packs of one capacity, by the two classical rules.

Both take the documents by falling length (Johnson 1973; for language models Ding et al. 2024, "Fewer Truncations
Improve Language Modeling"): best fit puts each into the pack with the least room that still takes it, first fit into
the earliest one. Documents of one length are placed together, in whole arrays; the result is the same as placing one
document after another.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from luthier.data.pack import Ints, Packs

Indices = npt.NDArray[np.int32]
Rooms = dict[int, list[Indices]]
"""Room left -> the packs that have it, in some arrays; each array is sorted."""

MOST_SHORT_KEY = 65_535
"""Keys up to this are sorted as 16-bit numbers, which numpy does in linear time."""

BLOCK = 256
"""Packs whose largest room is kept, so that first fit passes by them at once when nothing fits."""


def best_fit(documents: Ints, lengths: Ints, capacity: int) -> Packs:
    """Best-fit decreasing. ``lengths[d]`` is document d's; none may exceed ``capacity``.

    Packs are kept by the room they have left: O(n log n + capacity^2).

    >>> packs = best_fit(np.arange(4), np.array([6, 5, 4, 3]), 10)
    >>> [list(map(int, packs[p])) for p in range(len(packs))]
    [[0, 2], [1, 3]]
    """
    own = lengths[documents]
    falling = _falling(own, capacity)
    pack_of = np.empty(len(documents), np.int32)
    with_room: dict[int, list[Indices]] = {}
    opened = 0
    for length, group in _groups(own, falling):
        placed, count = 0, len(group)
        for room in sorted(room for room in with_room if room >= length):
            if placed == count:
                break
            packs = np.concatenate(with_room.pop(room))
            placed += _fill(packs, room, length, group[placed:], pack_of, with_room)
        if placed < count:
            needed = -(-(count - placed) // (capacity // length))
            fresh = np.arange(opened, opened + needed, dtype=np.int32)
            opened += needed
            _fill(fresh, capacity, length, group[placed:], pack_of, with_room)
    return _packs(documents, falling, pack_of, opened)


def first_fit(documents: Ints, lengths: Ints, capacity: int) -> Packs:
    """First-fit decreasing: like ``best_fit``, but each document goes into the earliest pack that takes it.

    O(n log n), and for each distinct length a look at one number for every BLOCK packs.

    >>> packs = first_fit(np.arange(4), np.array([5, 6, 4, 3]), 10)
    >>> [list(map(int, packs[p])) for p in range(len(packs))]
    [[1, 2], [0, 3]]
    """
    own = lengths[documents]
    falling = _falling(own, capacity)
    pack_of = np.empty(len(documents), np.int32)
    rooms = np.zeros((-(-len(documents) // BLOCK), BLOCK), np.int32)
    largest = np.zeros(len(rooms), np.int32)
    opened = 0
    for length, group in _groups(own, falling):
        placed = _fill_earliest(rooms, largest, length, group, pack_of)
        if left := len(group) - placed:
            each = capacity // length
            fresh = np.arange(opened, opened - (-left // each))
            pack_of[group[placed:]] = np.repeat(fresh, each)[:left]
            rooms.reshape(-1)[fresh] = capacity - each * length
            rooms.reshape(-1)[fresh[-1]] = capacity - (left - each * (len(fresh) - 1)) * length
            touched = slice(opened // BLOCK, int(fresh[-1]) // BLOCK + 1)
            largest[touched] = rooms[touched].max(axis=1)
            opened += len(fresh)
    return _packs(documents, falling, pack_of, opened)


def _falling(own: Ints, capacity: int) -> Ints:
    """Places in ``own`` by falling length, equal ones in their order."""
    assert len(own) == 0 or int(own.max()) <= capacity, "a document longer than a pack"
    keys = capacity - own
    return np.argsort(keys.astype(np.uint16) if capacity <= MOST_SHORT_KEY else keys, kind="stable")


def _groups(own: Ints, falling: Ints) -> Iterator[tuple[int, Ints]]:
    """(length, places of the documents of that length), longest first."""
    counts = np.bincount(own)
    done = 0
    for length in np.flatnonzero(counts)[::-1].tolist():
        yield length, falling[done : done + counts[length]]
        done += counts[length]


def _fill(packs: Indices, room: int, length: int, group: Ints, pack_of: Indices, with_room: Rooms) -> int:
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


def _fill_earliest(rooms: Indices, largest: Indices, length: int, group: Ints, pack_of: Indices) -> int:
    """Put documents of one length into the earliest packs that take them; returns how many found a place.

    ``rooms`` [blocks, BLOCK] are what the packs have left, ``largest`` [blocks] the most in each block.
    """
    blocks = np.flatnonzero(largest >= length)
    placed = done = 0
    while done < len(blocks) and placed < len(group):
        some = blocks[done : done + max(1, done, (len(group) - placed) // BLOCK)]
        done += len(some)
        left = rooms[some].reshape(-1)
        fitting = np.flatnonzero(left >= length)
        each = left[fitting] // length
        total = np.cumsum(each)
        most = len(group) - placed
        if total[-1] > most:
            last = int(np.searchsorted(total, most))
            each = each[: last + 1]
            each[last] -= total[last] - most
            fitting = fitting[: last + 1]
        packs = some[fitting // BLOCK] * BLOCK + fitting % BLOCK
        stop = placed + int(each.sum())
        pack_of[group[placed:stop]] = np.repeat(packs, each)
        rooms.reshape(-1)[packs] -= each * length
        largest[some] = rooms[some].max(axis=1)
        placed = stop
    return placed


def _packs(documents: Ints, falling: Ints, pack_of: Indices, count: int) -> Packs:
    order = falling[np.argsort(pack_of[falling], kind="stable")]
    starts = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(pack_of, minlength=count), out=starts[1:])
    return Packs(documents[order], starts)
