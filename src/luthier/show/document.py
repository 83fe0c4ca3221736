"""One document as the trainer gets it: its tokens, their labels, and why each is learned or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from luthier.show.reason import Reason


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens [begin, end) that are learned or only read for one reason."""

    begin: int
    end: int
    learned: bool
    reason: Reason


@dataclass(frozen=True, slots=True)
class Cut:
    """What became of the row: its fate, which of how many parts this is (from 1), the row's tokens, and of the part the
    tokens [begin, end) that its pack has room for."""

    fate: str
    part: int
    parts: int
    of: int
    begin: int
    end: int
    length: int

    @property
    def whole(self) -> bool:
        """Whether the pack has all of the part."""
        return (self.begin, self.end) == (0, self.length)


@dataclass(frozen=True, slots=True)
class Document:
    """n tokens: ``labels`` [n] are those of the batch, ``labels[t]`` the id to predict at t or -100; ``trained`` [n] is
    the mask they were made from. ``cut`` is None where the row could not be followed."""

    origin: str
    ids: list[int]
    labels: list[int]
    trained: list[bool]
    positions: list[int]
    pieces: list[str]
    control: list[bool]
    reasons: list[Reason]
    cut: Cut | None
    number: int = 0
    """Of the prepared document, from 0."""
    pack: int = 0
    """Of the micro-batch, from 0."""
    start: int = 0
    """Where in the batch it begins."""
    scored: list[bool] | None = None
    """Of a judged row, whether each token is scored; the token before it need not be the one that predicts it."""

    @property
    def learned(self) -> list[bool]:
        """Whether each token is a label, which is at the token before it."""
        if self.scored is not None:
            return self.scored
        return [False, *(label >= 0 for label in self.labels[:-1])]

    def runs(self) -> Iterator[Run]:
        """The tokens, grouped by what they are and why."""
        begin = 0
        for (learned, reason), group in groupby(zip(self.learned, self.reasons, strict=True)):
            end = begin + len(list(group))
            yield Run(begin, end, learned, reason)
            begin = end

    def groups(self) -> Iterator[tuple[int, int]]:
        """The tokens, those together that only together make a character."""
        begins = [at for at, piece in enumerate(self.pieces) if piece or not at]
        return zip(begins, [*begins[1:], len(self.pieces)], strict=True)

    def text(self, begin: int, end: int) -> str:
        """The text of some tokens."""
        return "".join(self.pieces[begin:end])

    def tree(self, language: str) -> dict[str, Any]:
        """The document as plain values."""
        cut = self.cut
        return {
            "origin": self.origin,
            "document": self.number,
            "pack": self.pack,
            "start": self.start,
            "ids": self.ids,
            "trained": self.trained,
            "labels": self.labels,
            "positions": self.positions,
            "pieces": self.pieces,
            "control": self.control,
            "fate": cut and cut.fate,
            "part": cut and [cut.part, cut.parts],
            "row_tokens": cut and cut.of,
            "tokens_of_part": cut and [cut.begin, cut.end, cut.length],
            "why": whys(self.runs(), language),
        }


def whys(runs: Iterator[Run], language: str) -> list[dict[str, Any]]:
    """Runs as plain values."""
    return [
        {
            "tokens": [run.begin, run.end],
            "learned": run.learned,
            "reason": run.reason.kind,
            "turn": run.reason.turn or None,
            "role": run.reason.role or None,
            "words": run.reason.words(language),
        }
        for run in runs
    ]
