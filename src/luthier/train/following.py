"""Rates that go by how evaluations turn out: PyTorch's and transformers' own rules, with a state for checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from luthier.errors import RunError
from luthier.recipe import Recipe
from luthier.train.work import Progress

STATE = (
    *("best", "num_bad_epochs", "num_good_epochs", "cooldown_counter", "warmup_counter", "last_epoch"),
    *("reset_start", "_streaming_avg"),
)
"""What of a rule moves in the course of a run."""


class Following:
    """Warm-up, then the rate that the rule has come to; the same from one evaluation to the next."""

    def __init__(self, recipe: Recipe, warm: int, warming: Callable[[int], float]) -> None:
        self._group, self._rule = _rule(recipe)
        self._warm, self._warming = warm, warming

    def __call__(self, step: int) -> float:
        """The learning rate of a step (0-based) that comes after the evaluations told so far."""
        rate = float(self._group["lr"])
        return rate * self._warming(step) if step < self._warm else rate

    def tell(self, value: float) -> None:
        """How an evaluation turned out."""
        self._rule.step(value)

    def state(self) -> dict[str, Any]:
        """The rate and what the rule remembers, as plain values."""
        whole = self._rule.state_dict()
        kept = {name: whole[name] for name in STATE if name in whole and _finite(whole[name])}
        return {"lr": float(self._group["lr"]), **kept}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._rule.load_state_dict({name: value for name, value in state.items() if name != "lr"})
        self._group["lr"] = float(state["lr"])


def _finite(value: Any) -> bool:
    """A rule that has seen nothing has an infinite best, which it begins with anyway."""
    return not isinstance(value, float) or math.isfinite(value)


def _rule(recipe: Recipe) -> tuple[dict[str, Any], Any]:
    """A rule, and the group of a made-up optimiser whose rate it moves."""
    schedule, evaluate = recipe.schedule, recipe.evaluate
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=recipe.optimizer.lr)
    constants: dict[str, Any] = {"mode": "max" if evaluate.higher_is_better else "min"}
    constants |= {name: value for name, value in schedule.args.items() if value is not None}
    rule: Any
    if schedule.kind == "greedy":
        from transformers.optimization import GreedyLR

        rule = GreedyLR(optimizer, **constants)
    else:
        lowest = schedule.minimum * recipe.optimizer.lr
        rule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, min_lr=lowest, **constants)
    return optimizer.param_groups[0], rule


def tell(rate: Callable[[int], float], figures: Mapping[str, float], metric: str, progress: Progress) -> None:
    """Tell a rate that follows evaluations how one turned out, and note its state; another is told nothing.

    Raises:
        RunError: the figures lack the metric.
    """
    if not isinstance(rate, Following):
        return
    if metric not in figures:
        raise RunError(
            f"{metric} is not among what is evaluated, and the learning rate goes by it: {', '.join(figures)}",
            place="evaluate.best_metric",
            remedy="name one of them; answers are scored with evaluate.generate_during: true",
        )
    rate.tell(figures[metric])
    progress.extra["schedule"] = rate.state()


def go_on(rate: Callable[[int], float], progress: Progress) -> None:
    """Put a rate that follows evaluations where it was when a checkpoint was made."""
    if isinstance(rate, Following) and "schedule" in progress.extra:
        rate.restore(progress.extra["schedule"])
