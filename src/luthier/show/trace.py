"""One row through every stage, kept at each, and where the run's first epoch uses it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.origins import Origins
from luthier.data.preference import is_judged
from luthier.data.span import Span
from luthier.data.store import TokenStore
from luthier.data.tokens import Fate, Tokens
from luthier.recipe import Recipe
from luthier.show.document import Document, whys
from luthier.show.judged import scored_of
from luthier.show.rows import row_at
from luthier.show.text import control_ids, pieces_of
from luthier.show.why import explain
from luthier.train.prepare import Inputs


@dataclass(frozen=True, slots=True)
class Use:
    """A document of the row in epoch 0: its tokens [begin, end) are in a pack of a micro-batch of a step, from 1.

    ``step`` is 0 where the run does not come to it, None where it is held out for evaluation.
    """

    document: int
    step: int | None
    micro: int = 0
    pack: int = 0
    begin: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """A row's stages. ``whole`` is the row before any cut; ``uses`` is None where the run could not be prepared."""

    example: Example
    spans: list[Span]
    whole: Document
    fate: Fate
    kept: list[Tokens]
    uses: list[Use] | None = None

    def tree(self, language: str) -> dict[str, Any]:
        """The stages as plain values."""
        return {
            "origin": self.example.origin,
            "messages": [asdict(message) for message in self.example.messages],
            "spans": [asdict(span) for span in self.spans],
            "ids": self.whole.ids,
            "trained": self.whole.trained,
            "labels": self.whole.labels,
            "pieces": self.whole.pieces,
            "control": self.whole.control,
            "why": whys(self.whole.runs(), language),
            "fate": self.fate.value,
            "documents": [{"ids": kept.ids.tolist(), "trained": kept.trained.tolist()} for kept in self.kept],
            "epoch_0": None if self.uses is None else [asdict(use) for use in self.uses],
        }

    def with_uses(self, inputs: Inputs) -> Trace:
        """The same, with where the first epoch uses it."""
        return replace(self, uses=list(uses_of(self.example.origin, inputs)))


def trace(recipe: Recipe, tokenizer: Path, row: int) -> Trace:
    """The stages of the ``row``-th training row (counted from 1).

    Raises:
        DataError: there is no such row, or it cannot be read.
    """
    found = row_at(recipe, row)
    encoder = Encoder.open(tokenizer)
    explained = explain(found, recipe, encoder)
    fate, parts = explained.fitted(recipe)
    ids, trained = explained.tokens.ids.tolist(), explained.tokens.trained.tolist()
    control = control_ids(encoder)
    whole = Document(
        origin=found.example.origin,
        ids=ids,
        labels=[*(one if flag else -100 for one, flag in zip(ids[1:], trained[1:], strict=True)), -100],
        trained=trained,
        positions=list(range(len(ids))),
        pieces=pieces_of(ids, encoder),
        control=[one in control for one in ids],
        reasons=explained.reasons,
        cut=None,
        scored=scored_of(explained.tokens) if is_judged(found.example) else None,
    )
    return Trace(found.example, explained.spans, whole, fate, [part for part, _ in parts])


def uses_of(origin: str, inputs: Inputs) -> Iterator[Use]:
    """Where the first epoch uses the documents of a row, in their order."""
    packs, feed = inputs.feed.packs(0), inputs.feed
    size = feed.micro * feed.accumulation
    steps = min(feed.steps_per_epoch(), inputs.plan.steps)
    fed = {document: index for index, document in enumerate(inputs.documents)}
    for document in _documents_of(origin, inputs.store):
        if document not in fed:
            yield Use(document, None)
            continue
        entries = np.flatnonzero(packs.documents == fed[document]).tolist()
        if not entries:
            yield Use(document, 0)
        for entry in entries:
            pack = int(np.searchsorted(packs.starts, entry, side="right")) - 1
            step, inside = divmod(pack, size)
            begin = 0 if packs.begins is None else int(packs.begins[entry])
            end = int(inputs.store.lengths[document]) if packs.ends is None else int(packs.ends[entry])
            if step >= steps:
                yield Use(document, 0, begin=begin, end=end)
            else:
                yield Use(document, step + 1, inside // feed.micro + 1, inside % feed.micro + 1, begin, end)


def _documents_of(origin: str, store: TokenStore) -> list[int]:
    sought, held = Origins.of([origin]), store.origins
    if sought.names[0] not in held.names:
        return []
    place = [held.names.index(sought.names[0]), int(sought.places[0, 1])]
    found: list[int] = np.flatnonzero((held.places == place).all(axis=1)).tolist()
    return found
