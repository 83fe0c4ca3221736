"""Which packs an epoch goes through, and how they make up steps: a pure function of data, seed and epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from luthier.data.bins import best_fit, first_fit
from luthier.data.mix import drawn, in_turn, varies
from luthier.data.pack import Ints, Item, Packs, concatenate, joined, one_each
from luthier.data.preference import capacity_of
from luthier.recipe import Recipe


@dataclass(frozen=True)
class Feed:
    """How documents of known lengths are fed to the optimiser.

    ``lengths`` [n] are all documents'; a document may as well be a pair whose two answers stay together, and its length
    their sum. ``capacity`` is None when each document has a pack of its own. ``sources`` [n] are the documents'
    sources, whose ``weights`` say how often they come; without them every document comes once. ``horizon`` is how many
    epochs a run has: where weights make epochs differ, all of them get as many packs as the one that needs most.
    """

    lengths: Ints
    capacity: int | None
    micro: int
    accumulation: int
    shuffle: bool
    seed: int
    drop_last: bool = False
    by_length: bool = False
    kind: Literal["best_fit", "first_fit", "concatenate"] = "best_fit"
    curriculum: Literal["none", "short_first", "long_first"] = "none"
    turns: bool = False
    sources: Ints | None = None
    weights: tuple[float, ...] = ()
    horizon: int = 1

    @cached_property
    def count(self) -> int:
        """Packs in each epoch; for whole documents they depend on the lengths alone, not on the order."""
        return max(self._needed(epoch) for epoch in range(self.horizon if varies(self.weights) else 1))

    def documents(self, epoch: int) -> list[Ints]:
        """The documents of an epoch, in rounds none of which holds one twice."""
        if self.sources is None or all(weight == 1 for weight in self.weights):
            return [np.arange(len(self.lengths))]
        return drawn(self.sources, self.weights, self.seed, epoch)

    def packs(self, epoch: int) -> Packs:
        """The packs of an epoch, in their order."""
        random = np.random.default_rng((self.seed, epoch))
        rounds = self.documents(epoch)
        order = self._order(np.concatenate(rounds), random)
        sequence = np.concatenate(rounds)[order]
        if self.capacity is None:
            grouped = self.by_length and self.curriculum == "none"
            return one_each(self._grouped(sequence) if grouped else sequence)
        if self.kind == "concatenate":
            tokens = int(self.lengths[sequence].sum())
            return concatenate(
                np.tile(sequence, -(-self.count // max(1, tokens))), self.lengths, self.capacity, self.count
            )
        ends = np.cumsum([len(one) for one in rounds])
        packs = self._filled(sequence, np.searchsorted(ends, order, side="right") if len(rounds) > 1 else None)
        if varies(self.weights):
            packs = packs.split_up(self.count)
        packs = packs.taken(self._order_of_packs(packs, random))
        return Packs(sequence[packs.documents], packs.starts)

    def _order(self, documents: Ints, random: np.random.Generator) -> Ints:
        """The order of an epoch's documents: shuffled or not, then in turn, then by length, ties as they were."""
        order = random.permutation(len(documents)) if self.shuffle else np.arange(len(documents))
        if self.turns and self.sources is not None:
            order = order[in_turn(self.sources[documents[order]])]
        if self.curriculum != "none":
            sign = 1 if self.curriculum == "short_first" else -1
            order = order[np.argsort(sign * self.lengths[documents[order]], kind="stable")]
        return order

    def _order_of_packs(self, packs: Packs, random: np.random.Generator) -> Ints:
        """The order of packs of places in the sequence; the first document of a pack is its longest."""
        if self.curriculum != "none" or (self.turns and self.sources is not None):
            return np.argsort(packs.documents[packs.starts[:-1]])
        if self.shuffle:
            return random.permutation(len(packs))
        return np.argsort(np.minimum.reduceat(packs.documents, packs.starts[:-1]))

    def _filled(self, sequence: Ints, rounds: Ints | None) -> Packs:
        """Packs of places in the sequence; those of different rounds are kept apart, so that no pack has one twice."""
        assert self.capacity is not None, "packs have a capacity"
        fill = best_fit if self.kind == "best_fit" else first_fit
        own = self.lengths[sequence]
        if rounds is None:
            return fill(np.arange(len(sequence)), own, self.capacity)
        return joined([fill(np.flatnonzero(rounds == one), own, self.capacity) for one in range(int(rounds.max()) + 1)])

    def _needed(self, epoch: int) -> int:
        """Packs that the documents of an epoch fill."""
        rounds = self.documents(epoch)
        if self.capacity is None:
            return sum(map(len, rounds))
        if self.kind == "concatenate":
            full, rest = divmod(sum(int(self.lengths[one].sum()) for one in rounds), self.capacity)
            return full + (rest > 0 and not (self.drop_last and full > 0))
        return sum(len(self._filled(one, None)) for one in rounds)

    def _grouped(self, documents: Ints) -> Ints:
        """Documents [n] so that those of a micro-batch are of similar length, and the longest ones come first.

        As transformers' LengthGroupedSampler does: stretches of up to 50 micro-batches are each sorted by length, and
        the longest document of all leads, so that memory runs out at once if ever.
        """
        stretch = self.micro * max(1, min(len(documents) // (4 * self.micro), 50))
        parts = [documents[start : start + stretch] for start in range(0, len(documents), stretch)]
        parts = [part[np.argsort(-self.lengths[part], kind="stable")] for part in parts]
        longest = max(range(len(parts)), key=lambda index: int(self.lengths[parts[index][0]]), default=0)
        if parts:
            parts[0][0], parts[longest][0] = int(parts[longest][0]), int(parts[0][0])
        return np.concatenate(parts) if parts else documents

    def steps(self, epoch: int) -> Iterator[list[list[Item]]]:
        """The steps of an epoch: each a list of micro-batches, each what ``micro`` packs hold."""
        packs = self.packs(epoch)
        size = self.micro * self.accumulation
        for start in range(0, len(packs), size):
            stop = min(start + size, len(packs))
            if self.drop_last and stop - start < size and start:
                return
            yield [packs.items(first, min(first + self.micro, stop)) for first in range(start, stop, self.micro)]

    def steps_per_epoch(self) -> int:
        """Steps in each epoch."""
        steps = self.count / (self.micro * self.accumulation)
        return max(1, math.floor(steps)) if self.drop_last else math.ceil(steps)


def feed_of(recipe: Recipe, lengths: Ints, sources: Ints | None = None) -> Feed:
    """The feed that a recipe asks for; ``sources`` [n] index ``data.train``, without them nothing is mixed."""
    pack, data = recipe.pack, recipe.data
    feed = Feed(
        lengths=lengths,
        capacity=None if pack.kind == "none" else pack.length or capacity_of(recipe),
        micro=recipe.batch.micro,
        accumulation=recipe.batch.accumulation,
        shuffle=data.shuffle,
        seed=recipe.seed,
        drop_last=recipe.batch.drop_last,
        by_length=data.group_by_length,
        kind="best_fit" if pack.kind == "none" else pack.kind,
        curriculum=data.curriculum,
        turns=data.mix == "in_turn",
        sources=sources,
        weights=() if sources is None else tuple(source.weight for source in data.train),
    )
    if not varies(feed.weights):
        return feed
    steps = feed.steps_per_epoch()
    return replace(feed, horizon=math.ceil(total_steps(recipe, steps) / steps))


def total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Optimiser steps of the whole run; a fraction of an epoch is rounded up, as transformers does."""
    return recipe.batch.steps or math.ceil(recipe.batch.epochs * steps_per_epoch)
