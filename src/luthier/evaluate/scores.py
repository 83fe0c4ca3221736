"""Answers -> the figures of a recipe's metrics; a metric that fails on a row costs that row's figure and no more."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from luthier.errors import LuthierError
from luthier.registry import resolve

Metric = Callable[[str, str], float]
"""(answer, reference) -> a number."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A metric that gave no number for some rows: what it said first, and for which."""

    metric: str
    reason: str
    rows: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        count = len(self.rows)
        return f"{self.metric} gave no figure for {count:,} row{'s' if count > 1 else ''}: {self.reason}"


class Scorer:
    """A recipe's metrics, found once.

    Raises:
        RecipeError: there is no such metric, or its module cannot be imported.
    """

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics: Mapping[str, Metric] = {name: resolve("metrics", name) for name in metrics}
        self.failures: dict[str, Failure] = {}

    def scores(self, answer: str, reference: str, origin: str) -> dict[str, float]:
        """Each metric's number for one answer; a metric that raises or gives none is left out, and remembered."""
        found: dict[str, float] = {}
        for name, metric in self._metrics.items():
            try:
                value = float(metric(answer, reference))
                if not math.isfinite(value):
                    raise ValueError(f"it gave {value}")
                found[name] = value
            except LuthierError:
                raise
            except Exception as error:  # noqa: BLE001 - a metric is the user's own code: no fault of it ends a run
                failure = self.failures.setdefault(name, Failure(name, f"{type(error).__name__}: {error}"))
                failure.rows.append(origin)
        return found

    def means(self, scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Each metric's mean over the answers that it gave a number for; not a number where it gave none."""
        given = {name: [one[name] for one in scores if name in one] for name in self._metrics}
        return {name: sum(values) / len(values) if values else math.nan for name, values in given.items()}
