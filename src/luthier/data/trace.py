"""One row through every stage, kept at each: what ``luthier show`` prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from luthier.data.convert import attempts_of
from luthier.data.encoder import Encoder
from luthier.data.example import TEXT, Example
from luthier.data.pipeline import Preparation
from luthier.data.template import Span, text_spans
from luthier.data.tokens import Fate, Tokens, as_document, fit, tokenise
from luthier.errors import DataError, Fault
from luthier.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Trace:
    """A row's stages. ``pieces`` is the text of every id, in order."""

    example: Example
    spans: list[Span]
    tokens: Tokens
    pieces: list[str]
    fate: Fate
    kept: list[Tokens]

    def tree(self) -> dict[str, Any]:
        """The stages as plain values."""
        return {
            "origin": self.example.origin,
            "messages": [asdict(message) for message in self.example.messages],
            "spans": [asdict(span) for span in self.spans],
            "ids": self.tokens.ids.tolist(),
            "trained": self.tokens.trained.tolist(),
            "pieces": self.pieces,
            "fate": self.fate.value,
            "documents": [{"ids": kept.ids.tolist(), "trained": kept.trained.tolist()} for kept in self.kept],
        }


def trace(recipe: Recipe, tokenizer: Path, row: int) -> Trace:
    """The stages of the ``row``-th training row (counted from 1).

    Raises:
        DataError: there is no such row, or it cannot be read.
    """
    attempts = chain.from_iterable(map(attempts_of, recipe.data.train))
    example = next(islice(attempts, row - 1, None), None)
    if isinstance(example, Fault):
        raise DataError(example)
    if example is None:
        raise DataError(
            f"there is no row {row}",
            place=", ".join(source.path for source in recipe.data.train),
            remedy="ask for an earlier one",
        )
    encoder = Encoder.open(tokenizer)
    plain = example.messages[0].role == TEXT
    spans = text_spans(example) if plain else Preparation(recipe, encoder).template().spans(example)
    tokens = tokenise([spans], [example.origin], encoder)[0]
    if plain:
        tokens = as_document(tokens, encoder)
    fate, kept = fit(tokens, recipe.data.max_length, recipe.data.overlong)
    pieces = [encoder.decode([int(one)], skip_control=False) for one in tokens.ids]
    return Trace(example, spans, tokens, pieces, fate, kept)
