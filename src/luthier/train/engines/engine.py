"""What the loop asks of whatever carries the model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch

from luthier.data.batch import Batch
from luthier.methods.method import Loss, Method
from luthier.train.checkpoint import Saved
from luthier.train.ranks import Ranks
from luthier.train.stored import Stored


class Engine(Protocol):
    """One device or many, behind a few verbs; all processes say them in the same order."""

    device: torch.device
    compute: torch.dtype
    ranks: Ranks

    @property
    def hands_out(self) -> bool:
        """Whether the first process alone needs the model's weights, and the others are handed theirs by ``wrap``."""

    @property
    def exchanges(self) -> bool:
        """Whether a forward pass is an exchange, which all processes have to be in."""

    @property
    def shares_gradients(self) -> bool:
        """Whether a backward pass leaves a process its part of all processes' gradients, and none of its own."""

    def wrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model on its device, or this process's part of it there, ready for forward passes."""

    def attach(self, model: torch.nn.Module, method: Method, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Bind what trains together; the optimiser to give rates to."""

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""

    def loss(self, method: Method, model: torch.nn.Module, batch: Batch, *, last: bool = True) -> Loss:
        """A batch's loss, to train on or not; ``last``: it is the step's last one in this process."""

    def look(self, method: Method, model: torch.nn.Module, batch: Batch) -> Loss:
        """A batch's loss that is never trained on, whose gradients may be asked for."""

    def backward(self, loss: torch.Tensor) -> None:
        """Add a loss's gradients; after the step's last one they are the sum over all processes."""

    def clip(self, model: torch.nn.Module, largest: float | None) -> float:
        """The global gradient norm, before it is held to ``largest``."""

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Move the weights by the gradients."""

    def forget(self, optimizer: torch.optim.Optimizer) -> None:
        """Drop the gradients."""

    def whole(self, model: torch.nn.Module) -> AbstractContextManager[bool]:
        """Inside, every parameter is whole where the context says so (in the process that writes)."""

    def state(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, weights_only: bool) -> dict[str, Any]:
        """What a checkpoint keeps of the trained weights, the optimiser and the random generators."""

    def put(self, model: torch.nn.Module, weights: Stored) -> None:
        """Give parameters saved values.

        Raises:
            CheckpointError: the model has no such parameters.
        """

    def restore(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: Saved) -> None:
        """Put a checkpoint's tensors back.

        Raises:
            CheckpointError: they belong to other parameters.
        """

    def memory(self) -> int:
        """Peak bytes in use so far."""
