"""Rows found again: by their number or by their origins, with nothing else parsed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from luthier.data.block import Block, Part
from luthier.data.convert import attempts_of
from luthier.data.example import Example
from luthier.data.parallel import with_format
from luthier.data.source import blocks_of
from luthier.errors import DataError, Fault
from luthier.recipe import Recipe
from luthier.recipe.source import Source


class Found(NamedTuple):
    """An example as its source makes it, and as it would be if the source said nothing of what is learned."""

    example: Example
    own: Example


def row_at(recipe: Recipe, number: int) -> Found:
    """The ``number``-th training row, counted from 1 over all sources.

    Raises:
        DataError: there is no such row, or it cannot be read.
    """
    left = number
    for source in recipe.data.train:
        for block in blocks_of(source):
            if left <= len(block.rows):
                return _found(with_format(source), block, left - 1)
            left -= len(block.rows)
    raise DataError(
        f"there is no row {number}",
        place=", ".join(source.path for source in recipe.data.train),
        remedy=f"there are {number - left:,}; ask for one of them",
    )


def rows_of_origins(sources: Sequence[Source], origins: Iterable[str]) -> dict[str, list[Found]]:
    """The rows of these origins; one that several sources read is there several times."""
    wanted = set(origins)
    names = {origin.rpartition(":")[0] for origin in wanted}
    found: dict[str, list[Found]] = {}
    for source in sources:
        known: Source | None = None
        for block in blocks_of(source):
            for at in range(len(block.rows)) if block.name in names else ():
                if (origin := block.origin(at)) in wanted:
                    known = known or with_format(source)
                    found.setdefault(origin, []).append(_found(known, block, at))
    return found


def _found(source: Source, block: Block, at: int) -> Found:
    one = Block(block.name, [block.numbers[at]], [block.rows[at]])
    plain = source.model_copy(update={"train_on": None})
    return Found(_example(Part.of(source, one)), _example(Part.of(plain, one)))


def _example(part: Part) -> Example:
    attempt: Example | Fault | None = next(attempts_of(part), None)
    if isinstance(attempt, Example):
        return attempt
    raise DataError(attempt if attempt is not None else part.broken[0].fault)
