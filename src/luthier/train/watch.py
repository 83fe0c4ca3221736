"""How gradients and weights are spread, for a tracker that draws it: looked at just before the optimiser's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from luthier.record.events import Watched

EVERY = 100
"""Steps between two looks, the first of all included; W&B's own hooks look as often."""

BINS = 32


class Watch:
    """Hooked to an optimiser. Of tensors that are shared out, this process's parts are seen.

    Args:
        what: gradients, parameters or all.
        step: tells how many steps are done.
    """

    def __init__(
        self, model: torch.nn.Module, what: str, step: Callable[[], int], tell: Callable[[Watched], None]
    ) -> None:
        self._model, self._step, self._tell = model, step, tell
        self._gradients, self._parameters = what in ("gradients", "all"), what in ("parameters", "all")

    def __call__(self, *_: Any) -> None:
        """The optimiser is about to step."""
        step = self._step() + 1
        if step != 1 and step % EVERY:
            return
        seen: dict[str, torch.Tensor] = {}
        for name, parameter in self._model.named_parameters():
            if parameter.requires_grad and self._parameters:
                seen[f"parameters/{name}"] = parameter.detach()
            if parameter.requires_grad and self._gradients and parameter.grad is not None:
                seen[f"gradients/{name}"] = parameter.grad
        spreads = {name: spread(tensor) for name, tensor in seen.items()}
        self._tell(Watched(step=step, spreads={name: one for name, one in spreads.items() if one is not None}))


def spread(tensor: torch.Tensor) -> list[list[float]] | None:
    """A histogram of a tensor's finite numbers: [counts, edges]; None where there are none."""
    here = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    numbers = here.detach().float().flatten()
    numbers = numbers[numbers.isfinite()]
    if not numbers.numel():
        return None
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = torch.histc(numbers, BINS, low, high)
    return [counts.tolist(), torch.linspace(low, high, BINS + 1).tolist()]
