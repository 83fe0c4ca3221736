"""What every objective offers to the loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from luthier.data.batch import Batch
from luthier.data.tokens import Tokens
from luthier.recipe import Recipe
from luthier.registry import resolve

Metrics = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Loss:
    """A sum over ``count`` units (trained tokens, pairs), divided only once the whole step's count is known.

    ``metrics`` are more sums, detached, whose means over the step the loop reports: over the same units, or, where one
    has two numbers, its sum and over how many it is. ``count`` is the batch's ``units``, which the loop has to know
    before the first forward pass.
    """

    total: torch.Tensor
    count: int
    metrics: Metrics = field(default_factory=dict)


class Method(Protocol):
    """An objective."""

    def collate(self, items: Sequence[Tokens]) -> Batch:
        """The batch of some documents; its ``units`` are what its loss will count."""

    def loss(self, model: torch.nn.Module, batch: Batch) -> Loss:
        """The summed loss of a batch."""


def method_of(recipe: Recipe) -> Method:
    """The recipe's objective: what its name stands for, given the recipe where it has settings (``of``).

    Raises:
        RecipeError: there is no such objective.
    """
    kind = resolve("methods", recipe.method.kind)
    made: Method = kind.of(recipe) if hasattr(kind, "of") else kind()
    return made


def means(losses: Iterable[tuple[Metrics, int]]) -> dict[str, float]:
    """The mean of every metric over several batches of so many units; what is over nothing is left out.

    >>> means([({"a": torch.tensor(3.0)}, 2), ({"a": torch.tensor(1.0), "b": torch.tensor([5.0, 1.0])}, 2)])
    {'a': 1.0, 'b': 5.0}
    """
    sums: dict[str, torch.Tensor] = {}
    for metrics, count in losses:
        for name, value in metrics.items():
            value = value.detach().float().cpu()
            pair = value if value.ndim else torch.stack([value, torch.tensor(float(count))])
            sums[name] = sums[name] + pair if name in sums else pair
    return {name: float(total / over) for name, (total, over) in sums.items() if over}
