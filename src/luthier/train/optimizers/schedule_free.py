"""Schedule-free optimisers (Defazio et al. 2024): gradients are taken at one set of weights, another is the result."""

from __future__ import annotations

from typing import Any

import torch

from luthier.recipe.optimizer import Optimizer
from luthier.train.optimizers.constants import adam, own
from luthier.train.optimizers.groups import Groups
from luthier.train.optimizers.imported import optional
from luthier.train.optimizers.state import keep_plain

OF_GROUPS = ("k", "weight_sum", "lr_max")


def build(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """The optimiser that ``optimizer.kind`` names. Between steps the model holds the averaged weights, so that what is
    evaluated, saved and gone on from are those; ``follow`` has to put the others in place before a gradient."""
    library = optional("schedulefree", "schedulefree")
    base, constants = {
        "schedule_free_adamw": (library.AdamWScheduleFree, adam(optimizer)),
        "schedule_free_radam": (library.RAdamScheduleFree, {**adam(optimizer), "silent_sgd_phase": True}),
        "schedule_free_sgd": (library.SGDScheduleFree, {"lr": optimizer.lr}),
    }[optimizer.kind]

    class Made(base):  # type: ignore[misc,valid-type]
        def zero_grad(self, set_to_none: bool = True) -> None:
            """The end of a step, taken or skipped: back to the averaged weights."""
            super().zero_grad(set_to_none)
            self.eval()

    made: torch.optim.Optimizer = Made(groups, **(constants | own(optimizer)))
    keep_plain(made, of_groups=OF_GROUPS)
    return made


def follow(model: torch.nn.Module, optimizer: Any) -> None:
    """Put the weights that gradients are taken at in place before a forward pass in training."""

    def before(module: torch.nn.Module, _: Any) -> None:
        if module.training and torch.is_grad_enabled():
            optimizer.train()

    model.register_forward_pre_hook(before)
