"""Loss scaling for fp16, whose gradients would vanish below 6e-8 (Micikevicius et al. 2018, section 3.2)."""

from __future__ import annotations

from typing import Any

import torch


class Scaler:
    """Multiplies losses by a scale that halves with each overflow and doubles after 2,000 steps without any."""

    def __init__(self, device: str, scale: float = 2.0**16) -> None:
        self._inner = torch.amp.GradScaler(device, init_scale=scale)

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss to take gradients of."""
        product: torch.Tensor = self._inner.scale(loss)
        return product

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients by the scale, and note whether one of them is not finite."""
        self._inner.unscale_(optimizer)

    def update(self) -> None:
        """The scale of the next step."""
        self._inner.update()

    @property
    def can_fall(self) -> bool:
        """Whether a smaller scale may still help: below 1 an overflow is the model's own."""
        return self._inner.get_scale() > 1.0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain numbers."""
        return self._inner.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a kept state."""
        self._inner.load_state_dict(state)
