"""How full an epoch's packs are, how full they could be at best, and how long its documents are."""

from __future__ import annotations

from typing import Any

import numpy as np

from luthier.data.order import Feed
from luthier.data.pack import Ints, Packs

BARS = 24
"""Stretches of equal width into which lengths are counted, at most."""


def fewest_packs(lengths: Ints, capacity: int) -> int:
    """A number of packs below which no packing of whole documents of these lengths [n] can get: none is longer than
    ``capacity``, nor empty.

    The bound L2 of Martello and Toth (1990, "Knapsack Problems", 8.3): for any size a up to half a pack, the documents
    longer than capacity - a have a pack to themselves; the others longer than half a pack have one each, and what room
    those leave is at most filled by those of a to half a pack.

    >>> fewest_packs(np.array([6, 6, 6]), 10), fewest_packs(np.array([5, 5, 3, 3, 2, 2]), 10)
    (3, 2)
    """
    counts = np.bincount(lengths, minlength=capacity + 1)
    documents = np.append(0, np.cumsum(counts))
    tokens = np.append(0, np.cumsum(counts * np.arange(capacity + 1)))
    sizes, half = np.arange(capacity // 2 + 1), capacity // 2
    alone = documents[-1] - documents[capacity - sizes + 1]
    large = documents[capacity - sizes + 1] - documents[half + 1]
    room = large * capacity - (tokens[capacity - sizes + 1] - tokens[half + 1])
    over = np.maximum(0, tokens[half + 1] - tokens[sizes] - room)
    return int((alone + large - (-over // capacity)).max())


def told_of(feed: Feed, packs: Packs) -> dict[str, Any]:
    """What the summary of prepared rows says of the first epoch: its documents' lengths, and how full its packs are.

    ``lengths``: the ``width`` of a stretch, and the ``counts`` of documents of up to width, 2 x width, … tokens; the
    shortest, middle and longest one. Where documents share packs, ``efficiency`` is the packs' filled part,
    ``fewest_packs`` a number that no packing of them gets below, and ``best_efficiency`` what so few would be filled.
    """
    lengths = feed.lengths[np.concatenate(feed.documents(0))]
    if not len(lengths):
        return {}
    width = -(-int(lengths.max()) // BARS)
    told: dict[str, Any] = {
        "lengths": {
            "width": width,
            "counts": np.bincount((np.maximum(lengths, 1) - 1) // width).tolist(),
            "shortest": int(lengths.min()),
            "median": int(np.median(lengths)),
            "longest": int(lengths.max()),
        }
    }
    if feed.capacity is None:
        return told
    pieces = packs.lengths(feed.lengths)
    tokens = int(pieces.sum())
    fewest = -(-tokens // feed.capacity) if feed.kind == "concatenate" else fewest_packs(lengths, feed.capacity)
    return {
        **told,
        "efficiency": tokens / (len(packs) * feed.capacity),
        "fewest_packs": fewest,
        "best_efficiency": tokens / (fewest * feed.capacity),
    }
