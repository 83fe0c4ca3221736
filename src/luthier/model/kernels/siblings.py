"""Layers that are given the same input: the first that is called computes for all of them."""

from __future__ import annotations

from collections.abc import Callable

import torch


class Siblings:
    """Hands out what is computed for all layers at once, a part to each layer as it is called."""

    def __init__(self, count: int, compute: Callable[[torch.Tensor], tuple[torch.Tensor, ...]]) -> None:
        self.compute = compute
        self.seen: torch.Tensor | None = None
        self.parts: list[torch.Tensor | None] = [None] * count

    def output(self, place: int, hidden: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out] of the layer at this place."""
        part = self.parts[place]
        if self.seen is not hidden or part is None:
            self.seen, self.parts = hidden, list(self.compute(hidden))
            part = self.parts[place]
        self.parts[place] = None
        if not any(one is not None for one in self.parts):
            self.seen = None
        assert part is not None
        return part
