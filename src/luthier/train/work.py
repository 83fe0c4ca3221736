"""What a loop works with, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from luthier.data.batch import Batch
from luthier.data.order import Feed
from luthier.data.store import TokenStore
from luthier.methods.method import Method
from luthier.train.engines.engine import Engine
from luthier.train.noise import Noise
from luthier.train.scaler import Scaler

Tell = Callable[[int, str, Sequence[str]], None]
"""Given a step, what the user should know of it, and the rows that it concerns."""


@dataclass(slots=True)
class Progress:
    """How far a run is: what a checkpoint's JSON holds."""

    step: int = 0
    tokens: int = 0
    targets: int = 0
    skipped_in_a_row: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """Steps skipped so far, by cause."""
    parts: int = 1
    """Parts that each micro-batch is cut into, since whole ones do not fit into memory."""
    losses: list[float] = field(default_factory=list)
    """The latest ones, which a spike stands out from."""
    best: float | None = None
    best_step: int = 0
    without_improvement: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """What a loop works with.

    ``most_skipped`` is how many steps in a row may be skipped before the run is stopped; ``find_micro`` cuts
    micro-batches that do not fit into memory; ``debug`` watches every module's output. Where this is not the only
    process (``alone``), whole micro-batches are computed again to find a fault, and no rows by themselves: the others
    would wait.
    """

    model: torch.nn.Module
    method: Method
    engine: Engine
    optimizer: torch.optim.Optimizer
    rate: Callable[[int], float]
    store: TokenStore
    documents: list[int]
    feed: Feed
    total: int
    clip: float | None
    momentum: Callable[[int], float] | None = None
    noise: Noise | None = None
    scaler: Scaler | None = None
    most_skipped: int = 5
    find_micro: bool = False
    debug: bool = False
    alone: bool = True
    tell: Tell = lambda step, message, rows: None


@dataclass(frozen=True, slots=True)
class Ready:
    """A step's batches, the seconds that the loop waited for them, and what to do while a device is at work on them."""

    batches: list[Batch]
    waited: float
    meanwhile: Callable[[], None] | None = None
