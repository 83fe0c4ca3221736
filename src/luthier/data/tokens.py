"""Spans -> Tokens: ids, and which of them are learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from luthier.data.encoder import Encoder
from luthier.data.template import Span

Ids = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tokens:
    """One document: ``ids`` [n], ``trained`` [n] (whether each id is learned), where it came from."""

    ids: Ids
    trained: Flags
    origin: str

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def targets(self) -> int:
        """How many tokens give a loss: trained ones that have one before them."""
        return int(self.trained[1:].sum())


class Fate(StrEnum):
    """What became of a row."""

    KEPT = "kept"
    SPLIT = "split"
    TRUNCATED = "truncated"
    DROPPED = "dropped"
    """Longer than data.max_length, under data.overlong: drop."""
    UNTRAINED = "untrained"
    """No token of it would be learned."""
    DUPLICATE = "duplicate"
    REFUSED = "refused"


def tokenise(documents: Sequence[Sequence[Span]], origins: Sequence[str], encoder: Encoder) -> list[Tokens]:
    """Ids and masks of a batch of documents; each span is tokenised by itself, as what follows the one before it."""
    spans = [span for document in documents for span in document]
    before = [text for document in documents for text in ("", *(span.text for span in document))[: len(document)]]
    ids: list[list[int]] = [[]] * len(spans)
    for literal in (False, True):
        where = [index for index, span in enumerate(spans) if span.literal is literal]
        if where:
            texts, after = [spans[i].text for i in where], [before[i] for i in where]
            for index, encoded in zip(where, encoder.encode(texts, literal=literal, after=after), strict=True):
                ids[index] = encoded
    result: list[Tokens] = []
    at = 0
    for document, origin in zip(documents, origins, strict=True):
        parts = ids[at : at + len(document)]
        lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
        joined = np.fromiter((one for part in parts for one in part), dtype=np.int32, count=lengths.sum())
        trained = np.repeat(
            np.fromiter((span.trained for span in document), dtype=np.bool_, count=len(document)), lengths
        )
        result.append(Tokens(joined, trained, origin))
        at += len(document)
    return result


def as_document(tokens: Tokens, encoder: Encoder) -> Tokens:
    """A plain document with what the tokenizer itself puts around a text, and an end token, learned too."""
    eos = encoder.id_of("eos_token")
    suffix = list(encoder.suffix)
    if eos is not None and eos not in suffix:
        suffix.append(eos)
    ids = np.concatenate([np.array(encoder.prefix, np.int32), tokens.ids, np.array(suffix, np.int32)])
    trained = np.concatenate([np.zeros(len(encoder.prefix), np.bool_), tokens.trained, np.ones(len(suffix), np.bool_)])
    return Tokens(ids, trained, tokens.origin)


def fit(tokens: Tokens, max_length: int, overlong: str) -> tuple[Fate, list[Tokens]]:
    """What becomes of a document under a length limit: its fate, and the documents that remain of it."""
    pieces = [tokens]
    fate = Fate.KEPT
    if len(tokens) > max_length:
        if overlong == "drop":
            return Fate.DROPPED, []
        if overlong == "refuse":
            return Fate.REFUSED, []
        fate = Fate.SPLIT if overlong == "split" else Fate.TRUNCATED
        pieces = list(_cut(tokens, max_length, overlong))
    if not any(piece.targets for piece in pieces):
        return Fate.UNTRAINED, []
    return fate, [piece for piece in pieces if piece.targets]


def _cut(tokens: Tokens, max_length: int, overlong: str) -> Iterator[Tokens]:
    length = len(tokens)
    starts = (
        range(0, length, max_length) if overlong == "split" else (0 if overlong == "truncate" else length - max_length,)
    )
    for start in starts:
        part = slice(start, start + max_length)
        yield Tokens(tokens.ids[part], tokens.trained[part], tokens.origin)
