"""How much is evaluated at once: never so much that a run's peak of memory is not its training's."""

from __future__ import annotations

from luthier.data.preference import capacity_of
from luthier.recipe import Recipe

KEPT = 7
"""How many times as many bytes the backward pass keeps of a token as a cache of keys and values does, at least: of
hidden size h and numbers of w bytes, h (8 + 13 w) in each layer (``plan.memory``) against 2 h w."""


def tokens_at_once(recipe: Recipe, largest: int | None = None) -> int:
    """Tokens of an evaluation batch: ``batch.evaluate`` packs, but no more than a micro-batch of training has.

    Args:
        largest: tokens of the largest micro-batch there is; None for as many as the recipe has room for.
    """
    length = recipe.pack.length or capacity_of(recipe)
    most = recipe.batch.micro * length if largest is None else largest
    return min((recipe.batch.evaluate or recipe.batch.micro) * length, most)


def answered_at_once(recipe: Recipe, largest: int | None = None) -> int:
    """Tokens of prompts and answers that are generated together. Where the backward pass works layers out anew it
    keeps no more of a token than a cache does; else there is room for some times as many."""
    most = recipe.batch.micro * (recipe.pack.length or capacity_of(recipe)) if largest is None else largest
    return most * (1 if recipe.runtime.gradient_checkpointing else KEPT)
