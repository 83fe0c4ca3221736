"""The loop: planned steps, one after another. It knows neither files nor terminals; it only tells what happened."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from luthier.data.batch import Batch
from luthier.data.order import Feed
from luthier.data.pack import Item, Piece
from luthier.data.store import TokenStore
from luthier.data.tokens import Tokens
from luthier.errors import RunError
from luthier.methods.method import Method
from luthier.record.events import Stepped
from luthier.train.engines.engine import Engine

MOST_SKIPPED = 5
"""Steps in a row that may be skipped for a non-finite loss before the run is stopped."""


@dataclass(slots=True)
class Progress:
    """How far a run is: what a checkpoint's JSON holds."""

    step: int = 0
    tokens: int = 0
    targets: int = 0
    skipped_in_a_row: int = 0
    best: float | None = None
    best_step: int = 0
    without_improvement: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """What a loop works with."""

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


def planned_steps(feed: Feed, start: int, total: int) -> Iterator[tuple[int, float, list[list[Item]]]]:
    """(step, epoch reached after it, its micro-batches of documents) from a step to the end of the run."""
    per_epoch = feed.steps_per_epoch()
    for epoch in range(start // per_epoch, math.ceil(total / per_epoch)):
        for inside, micros in enumerate(feed.steps(epoch)):
            step = epoch * per_epoch + inside
            if start <= step < total:
                yield step, (step + 1) / per_epoch, micros


def train(work: Work, progress: Progress, after: Callable[[Stepped], bool]) -> None:
    """Run the steps from ``progress.step`` to the end; ``after`` sees every step and returns whether to stop.

    Raises:
        RunError: the loss or gradient was not finite MOST_SKIPPED times in a row.
    """
    work.model.train()
    for step, epoch, micros in planned_steps(work.feed, progress.step, work.total):
        event = one_step(work, step, epoch, micros)
        progress.step = step + 1
        progress.tokens += event.tokens
        progress.targets += event.targets
        progress.skipped_in_a_row = progress.skipped_in_a_row + 1 if event.skipped else 0
        stop = after(event)
        if progress.skipped_in_a_row >= MOST_SKIPPED:
            raise RunError(
                f"the loss or its gradient was not finite in {MOST_SKIPPED} steps in a row, up to step {step + 1}",
                place="the run",
                remedy="lower optimizer.lr, or look at the rows; the checkpoints before are whole",
            )
        if stop:
            return


def one_step(work: Work, step: int, epoch: float, micros: list[list[Item]]) -> Stepped:
    """One optimiser step: the micro-batches' summed losses, divided once by all their trained tokens.

    A loss or gradient that is not finite is never stepped on.
    """
    begun = time.perf_counter()
    batches = [work.method.collate([tokens_of(work.store, work.documents, item) for item in micro]) for micro in micros]
    waited = time.perf_counter() - begun
    count = sum(batch.targets for batch in batches)
    total = sum(_accumulate(work, batch, count) for batch in batches)
    norm = work.engine.clip(work.model, work.clip)
    rate = work.rate(step)
    finite = math.isfinite(total) and math.isfinite(norm)
    if finite:
        for group in work.optimizer.param_groups:
            group["lr"] = rate
        work.optimizer.step()
    work.optimizer.zero_grad(set_to_none=True)
    return Stepped(
        step=step + 1,
        epoch=epoch,
        loss=total / max(1, count),
        lr=rate,
        gradient_norm=norm,
        tokens=sum(batch.tokens for batch in batches),
        targets=count,
        seconds=time.perf_counter() - begun,
        waited=waited,
        memory=work.engine.memory(),
        skipped=not finite,
    )


def tokens_of(store: TokenStore, documents: Sequence[int], item: Item) -> Tokens:
    """The tokens of an item of a feed over ``documents``: a whole document, or a piece of one."""
    if not isinstance(item, Piece):
        return store[documents[item]]
    whole, part = store[documents[item.document]], slice(item.begin, item.end)
    return replace(whole, ids=whole.ids[part], trained=whole.trained[part])


def _accumulate(work: Work, batch: Batch, count: int) -> float:
    with work.engine.autocast():
        loss = work.method.loss(work.model, batch.to(work.engine.device))
    work.engine.backward(loss.total / max(1, count))
    return float(loss.total.detach())
