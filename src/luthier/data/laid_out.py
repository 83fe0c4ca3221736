"""How many tokens documents come to in a batch: judged ones are laid out otherwise than they are stored."""

from __future__ import annotations

import numpy as np

from luthier.data.pack import Ints
from luthier.data.preference import SINGLE, is_judging, taken_apart
from luthier.data.store import TokenStore
from luthier.data.tokens import Tokens
from luthier.recipe import Recipe

AT_ONCE = 4096
"""Documents whose flags are looked at together."""


def learned_of(recipe: Recipe, tokens: Tokens) -> int:
    """Tokens of a document that its method learns from: those of all answers, where they are judged."""
    return sum(map(len, taken_apart(tokens).answers)) if is_judging(recipe) else tokens.targets


def learned_in(recipe: Recipe, store: TokenStore) -> Ints:
    """The same of each document of a store [n]."""
    if not is_judging(recipe):
        return store.targets
    found = np.zeros(len(store), np.int64)
    for begin in range(0, len(store), AT_ONCE):
        bounds = np.asarray(store.offsets[begin : begin + AT_ONCE + 1], np.int64)
        marked = np.array(store.trained[bounds[0] : bounds[-1]])
        # A document's first flag says whether its answer is wanted.
        marked[bounds[:-1] - bounds[0]] = False
        marks = np.flatnonzero(marked) + bounds[0]
        found[begin : begin + AT_ONCE] = bounds[1:] - marks[np.searchsorted(marks, bounds[:-1])]
    return found


def laid_out(recipe: Recipe, lengths: Ints, learned: Ints) -> tuple[Ints, Ints]:
    """(tokens [n], how many of them are scored [n]) in a batch, of documents that are stored in so many tokens.

    Where a prefix or prompt is trained, each answer has the prompt before it. KTO puts the answer of another document
    behind each, which is taken to be as long as its own; ORPO scores the prompts too.
    """
    kind = recipe.method.kind
    if not is_judging(recipe):
        return lengths, learned
    prompts, other = lengths - learned, learned * (kind in SINGLE)
    copies = recipe.adapter.kind in ("prefix", "prompt") and kind != "reward"
    return lengths + other + prompts * copies, learned + other + np.maximum(prompts - 1, 0) * (kind == "orpo")
