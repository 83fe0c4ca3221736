"""Several sources in one epoch: how often each one's documents come, and in what turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from luthier.data.pack import Ints


def varies(weights: Sequence[float]) -> bool:
    """Whether epochs differ in their documents: some weight is not a whole number."""
    return any(weight % 1 for weight in weights)


def drawn(sources: Ints, weights: Sequence[float], seed: int, epoch: int) -> list[Ints]:
    """The documents of an epoch in rounds, none of which holds a document twice; each round is sorted.

    ``sources`` [n] is the source of each document. Of a weight 2.3, the 2 are every document in each of two rounds;
    the 0.3 are three tenths of them in a third one: a stretch of an order that the seed decides, which goes on where
    the epoch before left off and begins anew at its end. So every epoch has as many documents of each source as every
    other, and all have had their turn before any comes again. A source with documents always has one in an epoch.

    >>> [d.tolist() for d in drawn(np.array([0, 0, 1, 1]), [2.0, 0.5], 0, 0)]
    [[0, 1, 3], [0, 1]]
    """
    rounds: list[list[Ints]] = [[] for _ in range(int(max(weights)) + 1)]
    for source, weight in enumerate(weights):
        own = np.flatnonzero(sources == source)
        whole = int(weight)
        for one in rounds[:whole]:
            one.append(own)
        size = max(round((weight - whole) * len(own)), 0 if whole else min(1, len(own)))
        if size:
            order = np.random.default_rng((seed, source, 0x5A3E)).permutation(own)
            rounds[whole].append(order[(epoch * size + np.arange(size)) % len(own)])
    return [np.sort(np.concatenate(one)) for one in rounds if one]


def in_turn(sources: Ints) -> Ints:
    """The places [n] of documents with these ``sources`` [n], so that each source is spread evenly over all.

    The i-th of a source's n documents comes at (i + 1/2) / n of the way.

    >>> in_turn(np.array([0, 0, 0, 0, 1, 1])).tolist()
    [0, 4, 1, 2, 5, 3]
    """
    grouped = np.argsort(sources, kind="stable")
    counts = np.bincount(sources)
    rank = np.arange(len(sources)) - np.repeat(np.cumsum(counts) - counts, counts)
    return grouped[np.argsort((rank + 0.5) / np.repeat(counts, counts), kind="stable")]
