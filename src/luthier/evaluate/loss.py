"""Mean loss over the trained tokens, or the pairs, of some documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch

from luthier.data.batch import Batch
from luthier.data.bins import best_fit
from luthier.data.store import TokenStore
from luthier.methods.method import Loss, Method, means

Through = Callable[[Method, torch.nn.Module, Batch], Loss]
"""How to come to a batch's loss, where the model is wrapped."""


class Among(Protocol):
    """The processes that share the work."""

    index: int
    count: int

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """Each number summed over all."""

    def all(self, value: Any) -> list[Any]:
        """What each says (plain values)."""


def mean_loss(
    model: torch.nn.Module,
    method: Method,
    store: TokenStore,
    documents: Sequence[int],
    *,
    capacity: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
    among: Among | None = None,
    through: Through | None = None,
) -> tuple[float, int, dict[str, float]]:
    """(mean loss, trained tokens or pairs, means of what else the objective tells); documents are packed into batches
    of ``capacity`` tokens, one batch in memory.

    ``among`` several processes, batch i is process i mod their number's. All go through the model equally often, the
    last time perhaps with a batch that does not count: engines exchange weights meanwhile.
    """
    chosen = np.asarray(documents, dtype=np.int64)
    packs = best_fit(chosen, store.lengths, max(capacity, int(store.lengths[chosen].max())))
    was_training = model.training
    model.eval()
    index, processes = (among.index, among.count) if among else (0, 1)
    total, count, told = 0.0, 0, []
    try:
        with torch.no_grad():
            for first in range(0, len(packs), processes):
                counts = first + index < len(packs)
                pack = first + index if counts else 0
                batch = method.collate([store[int(document)] for document in packs[pack]]).to(device)
                with autocast():
                    loss = through(method, model, batch) if through else method.loss(model, batch)
                if counts:
                    total += float(loss.total)
                    count += loss.count
                    told.append((loss.metrics, loss.count))
    finally:
        model.train(was_training)
    if among is None or processes == 1:
        return total / max(1, count), count, means(told)
    total, number = among.sums([total, float(count)])
    return total / max(1, number), int(number), means_among(told, among)


def means_among(own: Sequence[tuple[Any, int]], among: Among) -> dict[str, float]:
    """The means of metrics over the batches of all processes."""
    plain = [({name: one.tolist() for name, one in metrics.items()}, count) for metrics, count in own]
    every = [one for some in among.all(plain) for one in some]
    return means(({name: torch.tensor(one) for name, one in metrics.items()}, count) for metrics, count in every)
