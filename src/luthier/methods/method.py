"""What every objective offers to the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from luthier.data.batch import Batch
from luthier.data.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Loss:
    """A sum over ``count`` units (trained tokens, pairs), divided only once the whole step's count is known."""

    total: torch.Tensor
    count: int


class Method(Protocol):
    """An objective."""

    def collate(self, items: Sequence[Tokens]) -> Batch:
        """The batch of some documents."""

    def loss(self, model: torch.nn.Module, batch: Batch) -> Loss:
        """The summed loss of a batch."""
