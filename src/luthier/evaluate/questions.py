"""Rows -> the questions that a model is asked: one for each answer in a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.template import ChatTemplate
from luthier.evaluate.generate import prompt_ids
from luthier.recipe import Recipe


def questions(rows: Iterable[Example], *, last_only: bool = False) -> Iterator[Example]:
    """Each row up to each of its answers, or to the last alone; and a row that ends with a question of its own.

    What has no answer and nothing to ask about, such as plain text, gives none.
    """
    for row in rows:
        if row.plain:
            continue
        ends = [end for end, one in enumerate(row.messages, 1) if one.role == "assistant" and end > 1]
        if row.messages[-1].role != "assistant":
            ends.append(len(row.messages))
        for end in ends[-1:] if last_only else ends:
            yield replace(row, messages=row.messages[:end])


def asked(
    rows: Iterable[Example], recipe: Recipe, template: ChatTemplate, encoder: Encoder, most: int | None = None
) -> list[Example]:
    """The questions that a recipe asks of some rows, the first ``most`` of them; those whose prompt is longer than
    ``evaluate.generation.max_prompt_length`` are passed over."""
    found = questions(rows, last_only=recipe.data.last_turn_only)
    longest = recipe.evaluate.generation.max_prompt_length
    if longest is not None:
        found = (one for one in found if len(prompt_ids(one, template, encoder)) <= longest)
    return list(islice(found, most))
