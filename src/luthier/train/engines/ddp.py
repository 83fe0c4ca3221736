"""Several processes, each with the whole model: they share out a step's micro-batches and add up the gradients."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from luthier.data.batch import Batch
from luthier.methods.method import Loss, Method
from luthier.recipe import Recipe
from luthier.train.engines.single import SingleDevice
from luthier.train.ranks import Ranks


class Objective(torch.nn.Module):
    """A model and what it learns by as one module, whose forward pass is the loss: all of an objective's ways into the
    model then lie inside the call that an engine watches."""

    def __init__(
        self,
        model: torch.nn.Module,
        method: Method,
        context: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        super().__init__()
        self.model, self.method, self.context = model, method, context

    def forward(self, batch: Batch) -> tuple[Any, ...]:
        """(sum, count, metrics) of a batch."""
        with self.context():
            loss = self.method.loss(self.model, batch)
        return loss.total, loss.count, loss.metrics


class DataParallel(SingleDevice):
    """PyTorch's DistributedDataParallel (Li et al. 2020)."""

    def __init__(self, recipe: Recipe, ranks: Ranks) -> None:
        super().__init__(recipe)
        self.ranks = ranks
        if self.device.type == "cuda":
            self.device = torch.device("cuda", ranks.local)
        self._settings: dict[str, Any] = dict(recipe.parallel.ddp)
        self._model: DistributedDataParallel | None = None

    def attach(self, model: torch.nn.Module, method: Method, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Give the model the hooks that add up gradients."""
        devices = [self.device] if self.device.type == "cuda" else None
        self._model = DistributedDataParallel(Objective(model, method), device_ids=devices, **self._settings)
        return optimizer

    def loss(self, method: Method, model: torch.nn.Module, batch: Batch, *, last: bool = True) -> Loss:
        """Through the hooks; gradients travel with the last batch of a step alone, and without any nothing does."""
        assert self._model is not None, "attached before the first step"
        if not torch.is_grad_enabled():
            return method.loss(model, batch)
        with nullcontext() if last else self._model.no_sync(), self.ranks.guarded():
            return Loss(*self._model(batch))

    def backward(self, loss: torch.Tensor) -> None:
        """Add a loss's gradients; DDP takes their mean over the processes, so that it is given their number times."""
        with self.ranks.guarded():
            super().backward(loss * self.ranks.count)
