"""What becomes of every row: counted, and refused where a policy says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from luthier.data.convert import MOST_SHOWN
from luthier.data.duplicates import Seen, digests_of
from luthier.data.near import Near, Signatures
from luthier.data.store import Batch, Digests
from luthier.data.tokens import Fate, Tokens, fit
from luthier.errors import DataError, Fault
from luthier.recipe.data import Data

Fit = Callable[[Tokens], tuple[Fate, list[Tokens]]]


@dataclass(slots=True)
class Fates:
    """The fates of documents under the settings of a recipe, in the order in which they come."""

    data: Data
    fit: Fit | None = None
    """What becomes of each document, where that is not for its length alone to say."""
    counts: dict[Fate, int] = field(default_factory=dict)
    lost: dict[Fate, int] = field(default_factory=dict)
    """Tokens that would have given a loss and do not, by the fate of their rows."""
    _refused: list[Fault] = field(default_factory=list)
    _seen: Seen = field(default_factory=Seen)
    _near: Near | None = None

    def settle(self, batch: Batch, signatures: Signatures | None = None) -> tuple[Batch, Digests]:
        """What remains of some documents, and the digests of that; ``signatures`` [n] to look for near ones."""
        digests = digests_of(batch)
        if not len(batch):
            return batch, digests
        alike = self._alike(digests, signatures)
        plain = (batch.targets > 0) & (batch.lengths <= self.data.max_length) & (alike == 0)
        plain &= batch.lengths >= self.data.min_length
        if self.fit is None and plain.all():
            self._count(Fate.KEPT, len(batch), 0)
            return batch, digests
        kept: list[Tokens] = []
        for tokens, like in zip(batch.documents(), alike.tolist(), strict=True):
            if like:
                self._count(Fate.DUPLICATE if like == 1 else Fate.NEAR_DUPLICATE, 1, 0)
                continue
            if len(tokens) < self.data.min_length:
                self._count(Fate.SHORT, 1, tokens.targets)
                continue
            if self.fit is not None:
                fate, pieces = self.fit(tokens)
            else:
                fate, pieces = fit(tokens, self.data.max_length, self.data.overlong)
            self._count(fate, 1, tokens.targets - sum(piece.targets for piece in pieces))
            self._remember(fate, tokens)
            kept += pieces
        left = Batch.of(kept)
        return left, digests_of(left)

    def check(self) -> None:
        """Call it at the end.

        Raises:
            DataError: there were rows that the policies refuse; the first ones are named.
        """
        count = self.counts.get(Fate.REFUSED, 0)
        if self.data.vanished == "refuse":
            count += self.counts.get(Fate.VANISHED, 0)
        if not count:
            return
        more = count - len(self._refused)
        rest = [Fault(f"and {more:,} more rows like these")] if more else []
        raise DataError(*self._refused, *rest)

    def summary(self) -> dict[str, Any]:
        """The counts, as plain values."""
        return {
            "fates": {fate.value: count for fate, count in sorted(self.counts.items())},
            "lost_answer_tokens": sum(self.lost.values()),
            **({"lost_targets": {fate.value: n for fate, n in sorted(self.lost.items())}} if self.lost else {}),
        }

    def _alike(self, digests: Digests, signatures: Signatures | None) -> npt.NDArray[np.int8]:
        """Of each document [n] whether it is like an earlier one: 0 no, 1 exactly, 2 nearly."""
        alike = np.zeros(len(digests), np.int8)
        if self.data.deduplicate:
            alike[self._seen.add(digests)] = 1
        if self.data.near_duplicates is not None and signatures is not None:
            if self._near is None:
                self._near = Near(self.data.near_duplicates)
            unlike = np.flatnonzero(alike == 0)
            alike[unlike] = 2 * self._near.add(signatures[unlike])
        return alike

    def _count(self, fate: Fate, count: int, lost: int) -> None:
        self.counts[fate] = self.counts.get(fate, 0) + count
        if lost:
            self.lost[fate] = self.lost.get(fate, 0) + lost

    def _remember(self, fate: Fate, tokens: Tokens) -> None:
        if len(self._refused) >= MOST_SHOWN:
            return
        if fate is Fate.REFUSED:
            remedy = "raise data.max_length, or change data.overlong"
            self._refused.append(Fault(f"is {len(tokens):,} tokens long", tokens.origin, remedy))
        elif fate is Fate.VANISHED and self.data.vanished == "refuse":
            self._refused.append(
                Fault(
                    f"is {len(tokens):,} tokens long; cut to {self.data.max_length:,}, nothing of it would be learned",
                    tokens.origin,
                    "raise data.max_length, set data.overlong: keep_answer, or drop such rows with data.vanished: drop",
                )
            )
