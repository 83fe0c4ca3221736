"""What every engine does that holds whole weights and a whole optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from luthier.data.batch import Batch
from luthier.methods.method import Loss, Method
from luthier.train import checkpoint
from luthier.train.checkpoint import Saved
from luthier.train.ranks import Ranks
from luthier.train.stored import Stored


class Unshared:
    """Weights, gradients and optimiser as torch has them."""

    device: torch.device
    ranks = Ranks()
    hands_out = exchanges = shares_gradients = False

    def attach(self, model: torch.nn.Module, method: Method, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Nothing to bind."""
        return optimizer

    def loss(self, method: Method, model: torch.nn.Module, batch: Batch, *, last: bool = True) -> Loss:
        """The objective's own."""
        return method.loss(model, batch)

    def look(self, method: Method, model: torch.nn.Module, batch: Batch) -> Loss:
        """As in training, without the end of a step."""
        return self.loss(method, model, batch, last=False)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Move the weights by the gradients."""
        optimizer.step()

    def forget(self, optimizer: torch.optim.Optimizer) -> None:
        """Drop the gradients."""
        optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def whole(self, model: torch.nn.Module) -> Iterator[bool]:
        """They are."""
        yield self.ranks.first

    def state(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, weights_only: bool) -> dict[str, Any]:
        """Trained weights and the optimiser's state by name; every process's random generators."""
        return {
            "weights": {name: one for name, one in model.named_parameters() if one.requires_grad},
            "optimizer": {} if weights_only else checkpoint.optimizer_tensors(optimizer),
            "random": checkpoint.of_all_ranks(checkpoint.random_tensors(self.device), self.ranks),
        }

    def put(self, model: torch.nn.Module, weights: Stored) -> None:
        """Give parameters saved values.

        Raises:
            CheckpointError: the model has no such parameters.
        """
        checkpoint.restore_weights(model, weights)

    def restore(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: Saved) -> None:
        """Put weights, optimiser and random generators back.

        Raises:
            CheckpointError: they belong to other parameters.
        """
        self.put(model, state.weights)
        checkpoint.restore_optimizer(optimizer, state.optimizer)
        checkpoint.restore_random(checkpoint.of_this_rank(state.random, self.ranks), self.device)
