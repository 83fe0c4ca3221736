"""Spans -> Tokens: ids, and which of them are learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from luthier.data.encoder import Encoder
from luthier.data.span import Span

Ids = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tokens:
    """One document: ``ids`` [n], ``trained`` [n] (whether each id is learned), where it came from.

    ``head``: how many ids at its beginning a cut goes around: the system message's.
    """

    ids: Ids
    trained: Flags
    origin: str
    head: int = 0

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
    SHORT = "short"
    """Shorter than data.min_length."""
    UNTRAINED = "untrained"
    """No token of it would be learned."""
    VANISHED = "vanished"
    """All that would be learned of it lies beyond a cut to data.max_length."""
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    REFUSED = "refused"


def tokenise(documents: Sequence[Sequence[Span]], origins: Sequence[str], encoder: Encoder) -> list[Tokens]:
    """Ids and masks of a batch of documents; each span is tokenised by itself, as what follows the one before it.

    A span that stands apart is tokenised as if nothing came before it.
    """
    spans = [span for document in documents for span in document]
    before: list[str] = []
    if encoder.spaced:
        before = [
            "" if not at or document[at].apart else _shown(document[at - 1])
            for document in documents
            for at in range(len(document))
        ]
    ids = [b""] * len(spans)
    for literal in (False, True):
        where = [index for index, span in enumerate(spans) if span.literal is literal]
        if where:
            texts, after = [spans[i].text for i in where], [before[i] for i in where] if before else []
            for index, encoded in zip(where, encoder.packed(texts, literal=literal, after=after), strict=True):
                ids[index] = encoded
    lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids)) // 4
    flat = np.frombuffer(bytearray().join(ids), np.int32)
    trained = np.repeat(np.fromiter((span.trained for span in spans), dtype=np.bool_, count=len(spans)), lengths)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    bounds = ends[np.concatenate([[0], np.cumsum([len(document) for document in documents], dtype=np.int64)])].tolist()
    return [
        Tokens(flat[start:stop], trained[start:stop], origin)
        for start, stop, origin in zip(bounds[:-1], bounds[1:], origins, strict=True)
    ]


def _shown(span: Span) -> str:
    """A span as what stands before another: a control token that is ordinary text is not taken for the real one."""
    return "\n" if span.literal and span.text else span.text


def as_document(tokens: Tokens, encoder: Encoder, end_tokens: int = 1, *, special_tokens: bool = True) -> Tokens:
    """A plain document with so many end tokens, learned too; one that it ends in itself counts as the first of them.

    ``special_tokens``: with what the tokenizer itself puts around a text.
    """
    eos = encoder.id_of("eos_token")
    prefix, suffix = (encoder.prefix, [*encoder.suffix]) if special_tokens else ((), [])
    if eos is not None:
        suffix += [eos] * (end_tokens - suffix.count(eos) - (tokens.ids[-1:].tolist() == [eos]))
    ids = np.concatenate([np.array(prefix, np.int32), tokens.ids, np.array(suffix, np.int32)])
    trained = np.concatenate([np.zeros(len(prefix), np.bool_), tokens.trained, np.ones(len(suffix), np.bool_)])
    return Tokens(ids, trained, tokens.origin)


def fit(tokens: Tokens, max_length: int, overlong: str) -> tuple[Fate, list[Tokens]]:
    """What becomes of a document under a length limit: its fate, and the documents that remain of it."""
    if not tokens.targets:
        return Fate.UNTRAINED, []
    if len(tokens) <= max_length:
        return Fate.KEPT, [tokens]
    if overlong in ("drop", "refuse"):
        return (Fate.DROPPED if overlong == "drop" else Fate.REFUSED), []
    pieces = [piece for piece in _cut(tokens, max_length, overlong) if piece.targets]
    if not pieces:
        return Fate.VANISHED, []
    return Fate.SPLIT if overlong == "split" else Fate.TRUNCATED, pieces


def _cut(tokens: Tokens, max_length: int, overlong: str) -> Iterator[Tokens]:
    length = len(tokens)
    if overlong == "keep_answer":
        yield _around_answer(tokens, max_length)
        return
    starts = (
        range(0, length, max_length) if overlong == "split" else (0 if overlong == "truncate" else length - max_length,)
    )
    for start in starts:
        part = slice(start, start + max_length)
        yield Tokens(tokens.ids[part], tokens.trained[part], tokens.origin)


def _around_answer(tokens: Tokens, max_length: int) -> Tokens:
    """The system message (if it leaves half of the room), and what ends with the last answer's end.

    Where the answer itself is too long for that, it loses its end, and a quarter of the room stays for what comes
    before it. An earlier answer that loses its beginning is read and no longer learned.
    """
    learned = np.flatnonzero(tokens.trained)
    stop = int(learned[-1]) + 1
    before = np.flatnonzero(~tokens.trained[:stop])
    answer = int(before[-1]) + 1 if len(before) else 0
    head = tokens.head if tokens.head <= min(max_length // 2, answer) else 0
    room = max_length - head
    start = max(head, stop - room)
    if start >= answer:
        start = max(head, answer - max(1, room // 4))
    part = slice(start, min(stop, start + room))
    trained = tokens.trained[part].copy()
    if start > head and trained[0] and start < answer:
        whole = np.flatnonzero(~trained)
        trained[: int(whole[0]) if len(whole) else 0] = False
    return Tokens(
        np.concatenate([tokens.ids[:head], tokens.ids[part]]),
        np.concatenate([tokens.trained[:head], trained]),
        tokens.origin,
    )
