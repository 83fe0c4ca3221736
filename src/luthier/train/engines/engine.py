"""What the loop asks of whatever carries the model."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import torch

from luthier.recipe import Recipe


class Engine(Protocol):
    """One device or many, behind five verbs."""

    device: torch.device
    compute: torch.dtype

    def __init__(self, recipe: Recipe) -> None:
        """Choose device and compute type; raises RunError when the recipe's are not there."""

    def wrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model on its device, ready for forward passes."""

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""

    def backward(self, loss: torch.Tensor) -> None:
        """Add a loss's gradients."""

    def clip(self, model: torch.nn.Module, largest: float | None) -> float:
        """The global gradient norm, before it is held to ``largest``."""

    def memory(self) -> int:
        """Peak bytes in use so far."""
