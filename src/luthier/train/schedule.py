"""The learning rate over a run: a pure function of the step, or of the step and the evaluations before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from luthier.recipe import Recipe
from luthier.recipe.schedule import FOLLOWING, RISING, WHOLE, Schedule
from luthier.registry import resolve
from luthier.train.schedule_constants import check_constants, word
from luthier.train.schedule_constants import constant as constant_of
from luthier.train.whole_rates import Rate


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step lies after warm-up: ``step`` (0 is the first of them) of ``length``, after ``warm`` steps."""

    step: int
    length: int
    warm: int

    @property
    def done(self) -> float:
        """Share of the run after warm-up that is done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.length))


Curve = Callable[[Place, Schedule], float]
"""(place after warm-up, settings) -> share of the peak above the minimum."""


def warmup_steps(schedule: Schedule, total: int) -> int:
    """Steps of warm-up in a run of ``total`` steps; a share is rounded up, as transformers does. A curve's may be more
    than the run has, whose peak is then never reached, as in transformers."""
    if schedule.warmup_steps is not None:
        return min(schedule.warmup_steps, total) if schedule.kind in RISING else schedule.warmup_steps
    return math.ceil(schedule.warmup_share * total)


def learning_rates(recipe: Recipe, total: int) -> Rate:
    """A function from a step (0-based) of ``total`` to its learning rate, equal to transformers' own schedules; one
    that goes by evaluations is a ``Following``, and has to be told them.

    Raises:
        RecipeError: there is no such curve, or it has no such constant, or a constant has no meaning.
    """
    schedule, peak = recipe.schedule, recipe.optimizer.lr
    curve = resolve("schedules", schedule.kind)
    check_constants(schedule)
    warm = warmup_steps(schedule, total)
    if schedule.kind in FOLLOWING:
        followed: Rate = curve(recipe, warm, lambda step: warming(step, warm, schedule))
        return followed
    if schedule.kind in WHOLE:
        whole: Rate = curve(recipe, total, warm)
        return whole
    return _behind_warmup(curve, schedule, peak, total)


def _behind_warmup(curve: Curve, schedule: Schedule, peak: float, total: int) -> Rate:
    warm = warmup_steps(schedule, total)
    ahead = int(schedule.kind == "cosine_warmup_with_min_lr")

    def at(step: int) -> float:
        if step < warm:
            return peak * (_ahead(step, warm, schedule) if ahead else warming(step, warm, schedule))
        place = Place(step + ahead - warm, total - warm, warm)
        return peak * (schedule.minimum + (1 - schedule.minimum) * curve(place, schedule))

    return at


def warming(step: int, warm: int, schedule: Schedule) -> float:
    """Warm-up from ``warmup_from`` at step 0 to the peak at step ``warm``.

    ``log`` is log(step + 1) / log(warm), which is already at the peak one step earlier (DeepSpeed's WarmupLR).
    """
    done = step / warm
    if schedule.warmup == "log":
        done = math.log(step + 1) / math.log(max(2, warm))
    elif schedule.warmup == "cosine":
        done = 0.5 * (1.0 - math.cos(math.pi * done))
    elif schedule.warmup == "1-sqrt":
        done = 1.0 - math.sqrt(1.0 - done)
    return schedule.warmup_from + (1 - schedule.warmup_from) * done


def _ahead(step: int, warm: int, schedule: Schedule) -> float:
    """Warm-up that is at 1/warm at step 0 and at the peak one step before its end (cosine_warmup_with_min_lr)."""
    first = constant_of(schedule, "warmup_lr_rate", 1 / warm)
    return first + (1 - first) * step / max(1, warm - 1)


def _steps(part: int | float, total: int) -> int:
    """So many steps, or a share of ``total``, rounded up."""
    return part if isinstance(part, int) else math.ceil(part * total)


def constant(place: Place, schedule: Schedule) -> float:
    """The peak, always."""
    return 1.0


def linear(place: Place, schedule: Schedule) -> float:
    """A straight line down."""
    return 1.0 - place.done


def cosine(place: Place, schedule: Schedule) -> float:
    """Half a wave of a cosine down (Loshchilov & Hutter 2017), or as many waves as ``cycles`` says."""
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * 2.0 * schedule.cycles * place.done)))


def cosine_with_restarts(place: Place, schedule: Schedule) -> float:
    """``cycles`` halves of a wave, each from the peak down (SGDR, Loshchilov & Hutter 2017)."""
    if place.done >= 1.0:
        return 0.0
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * ((schedule.cycles * place.done) % 1.0))))


def polynomial(place: Place, schedule: Schedule) -> float:
    """What is left of the run, to the power of ``power``."""
    return float((1.0 - place.done) ** schedule.power)


def inverse_sqrt(place: Place, schedule: Schedule) -> float:
    """1 / sqrt(1 + step / timescale) after warm-up (Zhai et al. 2022); ``timescale`` is the warm-up, or 10 000."""
    timescale = constant_of(schedule, "timescale", place.warm or 10_000) or 10_000
    return 1.0 / math.sqrt((place.step + timescale) / timescale)


def rex(place: Place, schedule: Schedule) -> float:
    """z / (1 - beta + beta z), z being what is left: the reflected exponential (Chen et al. 2021, beta 1/2)."""
    left, beta = 1.0 - place.done, constant_of(schedule, "beta", 0.5)
    return left / (1.0 - beta + beta * left) if left else 0.0


FALLS: Mapping[str, Callable[[float, float], float]] = {
    "cosine": lambda done, cycles: 0.5 * (1.0 + math.cos(math.pi * 2.0 * cycles * done)),
    "linear": lambda done, cycles: 1.0 - done,
    "1-sqrt": lambda done, cycles: 1.0 - math.sqrt(done),
}
"""How the last part of ``warmup_stable_decay`` falls: (share of it that is done, cycles) -> share of the peak."""


def warmup_stable_decay(place: Place, schedule: Schedule) -> float:
    """The peak for ``stable``, then ``decay`` down to the minimum (WSD, Hu et al. 2024), and what is left at it."""
    total = place.warm + place.length
    decay = min(_steps(schedule.decay, total), place.length)
    stable = place.length - decay if schedule.stable is None else _steps(schedule.stable, total)
    if place.step < stable:
        return 1.0
    if place.step >= stable + decay:
        return 0.0
    return FALLS[word(schedule, "decay_type", "cosine")]((place.step - stable) / decay, schedule.cycles)
