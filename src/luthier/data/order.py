"""Which packs an epoch goes through, and how they make up steps: a pure function of data, seed and epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from luthier.data.pack import Ints, Packs, best_fit, one_each
from luthier.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Feed:
    """How documents of known lengths are fed to the optimiser.

    ``lengths`` [n] are all documents'; ``capacity`` is None when each document has a pack of its own.
    """

    lengths: Ints
    capacity: int | None
    micro: int
    accumulation: int
    shuffle: bool
    seed: int
    drop_last: bool = False

    def packs(self, epoch: int) -> Packs:
        """The packs of an epoch, in their order."""
        random = np.random.default_rng((self.seed, epoch))
        documents = np.arange(len(self.lengths))
        if self.shuffle:
            documents = random.permutation(documents)
        if self.capacity is None:
            return one_each(documents)
        packs = best_fit(documents, self.lengths, self.capacity)
        if self.shuffle:
            return packs.taken(random.permutation(len(packs)))
        return packs.taken(np.argsort(np.minimum.reduceat(packs.documents, packs.starts[:-1]), kind="stable"))

    def steps(self, epoch: int) -> Iterator[list[Ints]]:
        """The steps of an epoch: each a list of micro-batches, each the documents [k] of ``micro`` packs."""
        packs = self.packs(epoch)
        size = self.micro * self.accumulation
        for start in range(0, len(packs), size):
            stop = min(start + size, len(packs))
            if self.drop_last and stop - start < size and start:
                return
            yield [
                packs.documents[packs.starts[first] : packs.starts[min(first + self.micro, stop)]]
                for first in range(start, stop, self.micro)
            ]

    def steps_per_epoch(self) -> int:
        """Steps in each epoch; best-fit's number of packs depends on the lengths alone, not on their order."""
        count = len(self.packs(0)) / (self.micro * self.accumulation)
        return max(1, math.floor(count)) if self.drop_last else math.ceil(count)


def feed_of(recipe: Recipe, lengths: Ints) -> Feed:
    """The feed that a recipe asks for."""
    return Feed(
        lengths=lengths,
        capacity=None if recipe.pack.kind == "none" else recipe.pack.length or recipe.data.max_length,
        micro=recipe.batch.micro,
        accumulation=recipe.batch.accumulation,
        shuffle=recipe.data.shuffle,
        seed=recipe.seed,
        drop_last=recipe.batch.drop_last,
    )


def total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Optimiser steps of the whole run; a fraction of an epoch is rounded up, as transformers does."""
    return recipe.batch.steps or math.ceil(recipe.batch.epochs * steps_per_epoch)
