"""How many of a streamed source's rows are read: as many as the steps of the run can need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.data.preference import capacity_of
from luthier.recipe import Recipe
from luthier.recipe.source import Source


@dataclass(frozen=True, slots=True)
class Enough:
    """Documents or tokens of one source with which a run's steps are full."""

    documents: int | None = None
    tokens: int | None = None

    def reached(self, documents: int, tokens: int) -> bool:
        """Whether so many documents, of so many tokens together, are enough."""
        return (self.documents is not None and documents >= self.documents) or (
            self.tokens is not None and tokens >= self.tokens
        )


def enough_for(recipe: Recipe, sources: Sequence[Source]) -> Enough | None:
    """What is enough of each streamed source; None where there is none, or where all its rows count.

    Packs hold no more tokens than their capacity, so that what fills the packs of all steps is enough for any packing;
    what is held out comes on top. Rows to evaluate are all read.
    """
    data, batch = recipe.data, recipe.batch
    streamed = any(source.streaming for source in sources)
    if not streamed or batch.steps is None or tuple(sources) != tuple(data.train):
        return None
    share = 1 - data.holdout if data.holdout < 1 else 1
    held = int(data.holdout) if data.holdout >= 1 else 0
    packs = batch.steps * batch.micro * batch.accumulation * (batch.world or 1)
    if recipe.pack.kind == "none":
        return Enough(documents=int(packs / share) + held + 1)
    capacity = recipe.pack.length or capacity_of(recipe)
    return Enough(tokens=int(packs * capacity / share) + (held + 1) * data.max_length)
