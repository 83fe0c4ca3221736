"""The first micro-batch of the first step: the loop's own documents, collated by the method itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luthier.data.batch import Batch
from luthier.data.encoder import Encoder
from luthier.data.jsonl_copy import with_copies
from luthier.data.pack import Item, Piece
from luthier.data.preference_batch import AnswerBatch
from luthier.data.tokens import Tokens
from luthier.errors import DataError
from luthier.methods.method import method_of
from luthier.plan.instead import with_template
from luthier.recipe import Recipe
from luthier.show.document import Cut, Document
from luthier.show.judged import reasons_in_batch
from luthier.show.reason import Reason
from luthier.show.rows import rows_of_origins
from luthier.show.text import control_ids, pieces_of
from luthier.show.why import Explained, explain
from luthier.train.loop import planned_steps, tokens_of
from luthier.train.prepare import Inputs


@dataclass(frozen=True, slots=True)
class FirstBatch:
    """The tensors of the first forward pass, document by document.

    ``micros``: micro-batches of the first step; ``packs``: rows of tokens in this one, each with room for ``capacity``
    tokens (None: a document has its row to itself).
    """

    batch: Batch
    documents: list[Document]
    steps: int
    micros: int
    packs: int
    capacity: int | None

    @property
    def fill(self) -> float | None:
        """The part of the packs that is filled."""
        return None if self.capacity is None else self.batch.tokens / (self.packs * self.capacity)

    def tree(self, language: str) -> dict[str, Any]:
        """The batch as plain values."""
        return {
            "batch": {
                "step": 1,
                "steps": self.steps,
                "micro": 1,
                "micros": self.micros,
                "documents": len(self.documents),
                "packs": self.packs,
                "capacity": self.capacity,
                "fill": self.fill,
                "tokens": self.batch.tokens,
                "learned": self.batch.targets,
                "padding": 0,
                "boundaries": self.batch.boundaries.tolist(),
            },
            "rows": [document.tree(language) for document in self.documents],
        }


def first_batch(recipe: Recipe, inputs: Inputs) -> FirstBatch:
    """What the first forward pass of a run gets; ``inputs`` are those that the run would prepare.

    Raises:
        DataError: there is not a step to take, or a row has gone from its file since it was prepared.
    """
    step = next(planned_steps(inputs.feed, 0, inputs.plan.steps), None)
    if step is None:
        raise DataError("there is no step to take", place="batch", remedy="raise batch.epochs, or give more rows")
    items = step[2][0]
    tokens = [tokens_of(inputs.store, inputs.documents, item) for item in items]
    batch = method_of(recipe).collate(tokens)
    packs = inputs.feed.packs(0)
    sizes = np.diff(packs.starts[: recipe.batch.micro + 1])
    return FirstBatch(
        batch=batch,
        documents=_documents(recipe, inputs, batch, items, tokens, np.repeat(np.arange(len(sizes)), sizes).tolist()),
        steps=inputs.plan.steps,
        micros=len(step[2]),
        packs=len(sizes),
        capacity=inputs.feed.capacity,
    )


def _documents(
    recipe: Recipe, inputs: Inputs, batch: Batch, items: Sequence[Item], tokens: Sequence[Tokens], packs: Sequence[int]
) -> list[Document]:
    encoder = inputs.encoder
    rows = _Rows(recipe, encoder, [one.origin for one in tokens])
    bounds, control = batch.boundaries.tolist(), control_ids(encoder)
    judged = reasons_in_batch(batch, list(tokens)) if isinstance(batch, AnswerBatch) else None
    ids, labels, positions = (one[0].tolist() for one in (batch.input_ids, batch.labels, batch.position_ids))
    documents: list[Document] = []
    for at, (item, made) in enumerate(zip(items, tokens, strict=True)):
        number = inputs.documents[item.document if isinstance(item, Piece) else item]
        cut, reasons = rows.followed(inputs.store[number], item)
        if judged is not None:
            part, scored, reasons = judged[at]
            trained = scored
        else:
            part, scored, trained = slice(bounds[at], bounds[at + 1]), None, made.trained.tolist()
            if trained[0]:
                reasons[0] = Reason("first")
        documents.append(
            Document(
                origin=made.origin,
                ids=ids[part],
                labels=labels[part],
                trained=trained,
                positions=positions[part],
                pieces=pieces_of(ids[part], encoder),
                control=[one in control for one in ids[part]],
                reasons=reasons,
                cut=cut,
                number=number,
                pack=packs[at],
                start=part.start,
                scored=scored,
            )
        )
    return documents


class _Rows:
    """The rows of some documents, read again to tell why their tokens are learned."""

    def __init__(self, recipe: Recipe, encoder: Encoder, origins: Sequence[str]) -> None:
        recipe, _ = with_template(with_copies(recipe), encoder)
        self._recipe = recipe
        self._explained: dict[str, list[Explained]] = {
            origin: [explain(one, recipe, encoder) for one in found]
            for origin, found in rows_of_origins(recipe.data.train, origins).items()
        }

    def followed(self, stored: Tokens, item: Item) -> tuple[Cut | None, list[Reason]]:
        """What became of the row of a prepared document, and the reasons for the tokens that its pack has of it."""
        begin, end = (item.begin, item.end) if isinstance(item, Piece) else (0, len(stored))
        for explained in self._explained.get(stored.origin, ()):
            fate, parts = explained.fitted(self._recipe)
            for number, (part, places) in enumerate(parts, 1):
                if np.array_equal(part.ids, stored.ids) and np.array_equal(part.trained, stored.trained):
                    cut = Cut(fate.value, number, len(parts), len(explained.tokens), begin, end, len(stored))
                    return cut, explained.reasons_of(part, places)[begin:end]
        return None, [Reason("unknown")] * (end - begin)
