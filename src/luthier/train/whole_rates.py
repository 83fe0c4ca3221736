"""Rates that are no curve behind a warm-up: one cycle (Smith & Topin 2019), and a sweep for finding a rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from luthier.recipe import Recipe
from luthier.recipe.schedule import Schedule
from luthier.train.schedule_constants import constant, switch, word

Rate = Callable[[int], float]
"""Step (0-based) -> learning rate."""


@dataclass(frozen=True, slots=True)
class _Phase:
    """A part of a cycle up to the step ``end``, and between which heights (0: start, 1: peak, -1: end) it goes."""

    end: float
    heights: tuple[int, int]


def _phases(total: int, warm: int, three: bool) -> tuple[_Phase, ...]:
    if three:
        return _Phase(warm - 1, (0, 1)), _Phase(2 * warm - 2, (1, 0)), _Phase(total - 1, (0, -1))
    return _Phase(warm - 1, (0, 1)), _Phase(total - 1, (1, -1))


def _at(step: int, phases: tuple[_Phase, ...], values: dict[int, float], strategy: str) -> float:
    """The value at a step, which lies between the values of its phase's two heights."""
    begin = 0.0
    for phase in phases:
        if step <= phase.end or phase is phases[-1]:
            width = phase.end - begin
            done = (step - begin) / width if width else 1.0
            first, last = (values[height] for height in phase.heights)
            if strategy == "cos":
                return last + (first - last) / 2 * (math.cos(math.pi * done) + 1)
            return first + (last - first) * done
        begin = phase.end
    raise AssertionError("the last phase takes every step")


def one_cycle(recipe: Recipe, total: int, warm: int) -> Rate:
    """PyTorch's OneCycleLR: up from the peak over ``div_factor`` in the ``warm`` steps of warm-up, then down to that
    over ``final_div_factor``; with ``three_phase`` down to the start in as many steps first."""
    schedule, peak = recipe.schedule, recipe.optimizer.lr
    start = peak / constant(schedule, "div_factor", 25.0)
    values = {0: start, 1: peak, -1: start / constant(schedule, "final_div_factor", 1e4)}
    phases = _phases(total, warm, switch(schedule, "three_phase", False))
    strategy = word(schedule, "anneal_strategy", "cos")
    return lambda step: _at(min(step, total - 1), phases, values, strategy)


def momentum_of(schedule: Schedule, total: int, warm: int) -> Rate | None:
    """Step -> momentum (Adam's beta1), which ``one_cycle`` moves against the rate; None where it stays."""
    if schedule.kind != "one_cycle" or not switch(schedule, "cycle_momentum", True):
        return None
    most, least = constant(schedule, "max_momentum", 0.95), constant(schedule, "base_momentum", 0.85)
    phases = _phases(total, warm, switch(schedule, "three_phase", False))
    strategy = word(schedule, "anneal_strategy", "cos")
    return lambda step: _at(min(step, total - 1), phases, {0: most, 1: least, -1: most}, strategy)


def put_momentum(optimizer: torch.optim.Optimizer, momentum: float) -> None:
    """Set the momentum, or Adam's beta1, of every group that has one."""
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        elif "momentum" in group:
            group["momentum"] = momentum


def log_sweep(recipe: Recipe, total: int, warm: int) -> Rate:
    """From ``min_lr`` to ``max_lr`` in equal factors over the steps of warm-up, as earlier Axolotls had it; the peak of
    the recipe plays no part. Its first two steps are alike."""
    schedule = recipe.schedule
    low, high = constant(schedule, "min_lr", 1e-10), constant(schedule, "max_lr", 10.0)
    factor = (high / low) ** (1 / max(1, warm - 1))
    return lambda step: high if step >= warm else low * factor ** max(0, step - 1)
