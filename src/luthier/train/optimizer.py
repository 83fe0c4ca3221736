"""The recipe's optimiser over a model's trainable parameters."""

from __future__ import annotations

from typing import Any

import torch

from luthier.errors import CheckpointError, RecipeError
from luthier.recipe import Recipe
from luthier.recipe.optimizers import OPTIMIZERS
from luthier.registry import resolve
from luthier.train.optimizers.groups import follow_rates, parameter_groups
from luthier.train.optimizers.schedule_free import follow
from luthier.train.optimizers.state import count_steps


def build_optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser; weight decay spares biases and norms, which are the parameters of one dimension.

    Raises:
        RecipeError: it has no such constants as ``optimizer.args`` gives.
        MissingPackage: it belongs to a package that is not installed.
    """
    settings = recipe.optimizer
    make = resolve("optimizers", settings.kind)
    groups = parameter_groups(model, settings)
    try:
        optimizer: torch.optim.Optimizer = make(groups, settings)
    except (TypeError, ValueError) as error:
        if not settings.args:
            raise
        raise RecipeError(
            f"{settings.kind} does not take them: {error}", place="optimizer.args", remedy="take the wrong ones out"
        ) from error
    follow_rates(optimizer)
    _refuse_anothers_state(optimizer, settings.kind)
    if settings.kind == "sgd":
        count_steps(optimizer)
    if settings.kind.startswith("schedule_free"):
        follow(model, optimizer)
    return optimizer


def _refuse_anothers_state(optimizer: torch.optim.Optimizer, kind: str) -> None:
    """See to it that the first step finds no state of AdamW stored otherwise: a package may have come or gone since the
    checkpoint was made, and with it the optimiser that stands in."""
    facts = OPTIMIZERS.get(kind)
    if facts is None or "adamw" not in (kind, facts.equal):
        return
    entry = "state1" if facts.package == "bitsandbytes" else "exp_avg"
    seen: list[bool] = []

    def before(*_: Any) -> None:
        if not seen and any(state and entry not in state for state in optimizer.state.values()):
            raise CheckpointError(
                f"holds the state of another optimiser than {kind}",
                place="optimizer.kind",
                remedy="install what was there when the run began, or set checkpoint.resume: never",
            )
        seen[:] = [True]

    optimizer.register_step_pre_hook(before)
