"""The learning rate over a run, as a share of its peak: a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from luthier.recipe import Recipe
from luthier.recipe.schedule import Schedule
from luthier.registry import resolve

Curve = Callable[[float, Schedule], float]
"""(share of the run after warm-up that is done, settings) -> share of the peak above the minimum."""


def warmup_steps(schedule: Schedule, total: int) -> int:
    """Steps of warm-up in a run of ``total`` steps; a share is rounded up, as transformers does."""
    if schedule.warmup_steps is not None:
        return min(schedule.warmup_steps, total)
    return math.ceil(schedule.warmup_share * total)


def learning_rates(recipe: Recipe, total: int) -> Callable[[int], float]:
    """A function from a step (0-based) to its learning rate.

    Warm-up is linear from 0: step s of w has s/w of the peak, as in transformers' schedules.
    """
    schedule, peak = recipe.schedule, recipe.optimizer.lr
    curve: Curve = resolve("schedules", schedule.kind)
    warm = warmup_steps(schedule, total)

    def at(step: int) -> float:
        if step < warm:
            return peak * step / warm
        done = (step - warm) / max(1, total - warm)
        return peak * (schedule.minimum + (1 - schedule.minimum) * curve(min(1.0, done), schedule))

    return at


def constant(done: float, schedule: Schedule) -> float:
    """The peak, always."""
    return 1.0


def linear(done: float, schedule: Schedule) -> float:
    """A straight line down."""
    return 1.0 - done


def cosine(done: float, schedule: Schedule) -> float:
    """Half a wave of a cosine down (Loshchilov & Hutter 2017), or as many as ``cycles`` says."""
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * 2.0 * schedule.cycles * done)))
