"""Weights that the first process has read, sent to the others part by part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from luthier.model.hollow import agree, described, tensors_of
from luthier.train.ranks import Ranks


class HandedOut:
    """Fills the parts of a model whose other processes have it without its numbers."""

    def __init__(self, model: torch.nn.Module, device: torch.device, ranks: Ranks) -> None:
        self._device, self._ranks = device, ranks
        self._done: set[int] = set()
        wanted = ranks.told(described(model) if ranks.first else None)
        if wanted is not None and not ranks.first:
            agree(model, wanted)

    def fill(self, part: torch.nn.Module) -> None:
        """Put what the first process has of a part on every process's device; what is shared out already stays."""
        for _, tensor in tensors_of(part):
            if id(tensor) not in self._done and not isinstance(tensor, DTensor):
                self._done.add(id(tensor))
                self.receive(tensor)

    def stand_in(self, model: torch.nn.Module) -> None:
        """Give a model all but its parameters; those of the other processes have their shapes, and no memory yet."""
        for _, tensor in tensors_of(model):
            if not isinstance(tensor, torch.nn.Parameter):
                self.receive(tensor)
            elif not self._ranks.first:
                empty = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
                torch.utils.swap_tensors(tensor, torch.nn.Parameter(empty, tensor.requires_grad))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def receive(self, tensor: torch.Tensor) -> None:
        """One tensor, which stays the same object."""
        if self._ranks.first:
            tensor.data = tensor.data.to(self._device)
        else:
            there = torch.empty(tensor.shape, dtype=tensor.dtype, device=self._device)
            if isinstance(tensor, torch.nn.Parameter):
                there = torch.nn.Parameter(there, tensor.requires_grad)
            torch.utils.swap_tensors(tensor, there)  # type: ignore[no-untyped-call]
        with self._ranks.guarded():
            dist.broadcast(tensor.data, src=0)


class OneByOne(torch.nn.Module):
    """A model whose other processes get memory for a parameter only when its turn has come to be shared out."""

    def __init__(self, model: torch.nn.Module, ranks: Ranks) -> None:
        super().__init__()
        self.whole, self._ranks = model, ranks

    def parameters(self, recurse: bool = True) -> Iterator[torch.nn.Parameter]:
        """Every parameter once, of which the first process has the numbers."""
        for parameter in self.whole.parameters(recurse):
            if not self._ranks.first:
                parameter.data = torch.empty(parameter.shape, dtype=parameter.dtype)
            yield parameter

    def share_out(self, settings: dict[str, Any]) -> None:
        """Let DeepSpeed send each parameter and keep this process's part of it."""
        from deepspeed import zero

        zero.Init(module=self, config_dict_or_path=settings, dtype=torch.float32)
