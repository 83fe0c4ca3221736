"""Optimisers of PyTorch and transformers."""

from __future__ import annotations

from typing import Any

import torch

from luthier.recipe.optimizer import Optimizer
from luthier.train.optimizers.constants import adam, own
from luthier.train.optimizers.groups import Groups


def adamw(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """AdamW with decoupled weight decay (Loshchilov & Hutter 2019), in PyTorch's fused form."""
    return torch.optim.AdamW(groups, **adam(optimizer), fused=True, **own(optimizer))


def sgd(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """Stochastic gradient descent; ``optimizer.args`` may give momentum and nesterov."""
    return torch.optim.SGD(groups, lr=optimizer.lr, **own(optimizer))


def adagrad(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """Adagrad (Duchi et al. 2011)."""
    return torch.optim.Adagrad(groups, lr=optimizer.lr, **own(optimizer))


def rmsprop(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """RMSprop (Hinton 2012)."""
    return torch.optim.RMSprop(groups, lr=optimizer.lr, **own(optimizer))


def adafactor(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """Adafactor (Shazeer & Stern 2018) at the recipe's own rate, as the Trainer makes it: neither scaled by the weights
    nor relative to the step."""
    from transformers.optimization import Adafactor

    constants = own(optimizer, scale_parameter=False, relative_step=False)
    made: torch.optim.Optimizer = Adafactor(groups, lr=optimizer.lr, **constants)
    return made


class Muon(torch.optim.Optimizer):
    """Muon (Jordan 2024) for hidden matrices and AdamW for the rest, over one list of groups and one state."""

    def __init__(self, groups: Groups, optimizer: Optimizer) -> None:
        super().__init__(groups, {"lr": optimizer.lr})
        constants = own(optimizer, adjust_lr_fn="match_rms_adamw")
        hidden = [group for group in self.param_groups if group["hidden"]]
        rest = [group for group in self.param_groups if not group["hidden"]]
        self.inner: list[Any] = []
        if hidden:
            self.inner.append(torch.optim.Muon(hidden, lr=optimizer.lr, **constants))
        if rest:
            self.inner.append(torch.optim.AdamW(rest, **adam(optimizer), fused=True))
        for inner in self.inner:
            inner.state = self.state

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of both; losses are the loop's own."""
        for inner in self.inner:
            inner.step()


def muon(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """Muon whose steps are as large as AdamW's (Liu et al. 2025, section 2.2), so that both go by one learning rate."""
    return Muon(groups, optimizer)
