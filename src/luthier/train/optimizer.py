"""The recipe's optimiser over a model's trainable parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from luthier.recipe import Recipe
from luthier.recipe.optimizer import Optimizer
from luthier.registry import resolve

Groups = list[dict[str, Any]]


def build_optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser; weight decay spares biases and norms, which are the parameters of one dimension."""
    make = resolve("optimizers", recipe.optimizer.kind)
    groups = parameter_groups(model.named_parameters(), recipe.optimizer)
    optimizer: torch.optim.Optimizer = make(groups, recipe.optimizer)
    return optimizer


def parameter_groups(named: Iterable[tuple[str, torch.nn.Parameter]], optimizer: Optimizer) -> Groups:
    """Trainable parameters with decay and without, each group with its names, so that state can be saved by name."""
    decayed: dict[str, Any] = {"params": [], "names": [], "weight_decay": optimizer.weight_decay}
    spared: dict[str, Any] = {"params": [], "names": [], "weight_decay": 0.0}
    for name, parameter in named:
        if parameter.requires_grad:
            group = decayed if parameter.ndim > 1 else spared
            group["params"].append(parameter)
            group["names"].append(name)
    return [group for group in (decayed, spared) if group["params"]]


def adamw(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """AdamW with decoupled weight decay (Loshchilov & Hutter 2019), in PyTorch's fused form."""
    return torch.optim.AdamW(
        groups,
        lr=optimizer.lr,
        betas=(optimizer.beta1, optimizer.beta2),
        eps=optimizer.epsilon,
        fused=True,
        **_args(optimizer),
    )


def sgd(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """Stochastic gradient descent; ``optimizer.args`` may give momentum and nesterov."""
    return torch.optim.SGD(groups, lr=optimizer.lr, **_args(optimizer))


def _args(optimizer: Optimizer) -> dict[str, Any]:
    return dict(optimizer.args)
