"""The examples of whole sources, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from luthier.data.convert import MOST_SHOWN
from luthier.data.example import Example
from luthier.data.parallel import attempts
from luthier.errors import DataError, Fault
from luthier.recipe import Recipe
from luthier.recipe.source import Source


def examples(recipe: Recipe, sources: Sequence[Source], set_aside: list[Fault] | None = None) -> Iterator[Example]:
    """The examples of several sources, one source after the other.

    Rows that are none are collected in ``set_aside``, up to data.bad_rows of them.

    Raises:
        DataError: more bad rows than that; the first ones are all named.
    """
    faults: list[Fault] = [] if set_aside is None else set_aside
    for attempt in chain.from_iterable(map(attempts, sources)):
        if isinstance(attempt, Example):
            yield attempt
            continue
        faults.append(attempt)
        if len(faults) >= recipe.data.bad_rows + MOST_SHOWN:
            break
    if len(faults) > recipe.data.bad_rows:
        raise DataError(*faults[:MOST_SHOWN])


def texts(recipe: Recipe, sources: Sequence[Source]) -> Iterator[str]:
    """All texts of the sources, to train a tokenizer on."""
    return (message.content for example in examples(recipe, sources) for message in example.messages)
