"""What each curve takes in ``schedule.args``, and what may be written there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from luthier.errors import RecipeError
from luthier.recipe.schedule import DEEPSPEED, Schedule


@dataclass(frozen=True, slots=True)
class Rule:
    """A number from ``least`` to ``most``, or one of some words; ``means`` is what to write."""

    means: str
    least: float = 0.0
    most: float = math.inf
    words: tuple[str | bool, ...] = ()

    def takes(self, value: object) -> bool:
        """Whether the value has a meaning."""
        if self.words:
            return any(value is word or (value == word and isinstance(value, str)) for word in self.words)
        return not isinstance(value, bool) and isinstance(value, int | float) and self.least <= value <= self.most


SHARE = Rule("a share between 0 and 1", most=1.0)
NUMBER = Rule("a number")
COUNT = Rule("a number of evaluations")
RATE = Rule("a learning rate")
SWITCH = Rule("true or false", words=(True, False))


def _one_of(*words: str) -> Rule:
    return Rule(f"one of: {', '.join(words)}", words=words)


FALLS = ("cosine", "linear", "1-sqrt")
"""How the last part of ``warmup_stable_decay`` may fall."""

_FOLLOWING: Mapping[str, Rule] = {
    "mode": _one_of("min", "max"),
    "factor": Rule("a share below 1", most=1 - 1e-9),
    "patience": COUNT,
    "threshold": NUMBER,
    "threshold_mode": _one_of("rel", "abs"),
    "cooldown": COUNT,
    "eps": NUMBER,
}

CONSTANTS: Mapping[str, Mapping[str, Rule]] = {
    **{name: {} for name in ("constant", "linear", "cosine", "cosine_with_restarts", "polynomial", *DEEPSPEED)},
    "inverse_sqrt": {"timescale": Rule("a number of steps")},
    "warmup_stable_decay": {"decay_type": _one_of(*FALLS)},
    "cosine_warmup_with_min_lr": {"warmup_lr_rate": SHARE},
    "rex": {"beta": SHARE},
    "log_sweep": {"min_lr": Rule("a learning rate above 0", least=1e-300), "max_lr": RATE},
    "one_cycle": {
        "div_factor": Rule("a number above 0", least=1e-9),
        "final_div_factor": Rule("a number above 0", least=1e-9),
        "anneal_strategy": _one_of("cos", "linear"),
        "three_phase": SWITCH,
        "cycle_momentum": SWITCH,
        "base_momentum": SHARE,
        "max_momentum": SHARE,
    },
    "reduce_lr_on_plateau": _FOLLOWING,
    "greedy": {
        **_FOLLOWING,
        "warmup": COUNT,
        "min_lr": RATE,
        "max_lr": RATE,
        "smooth": SWITCH,
        "window_size": Rule("a number of evaluations above 0", least=1),
        "reset_start": COUNT,
    },
}
"""By the kind of our own curves."""


def check_constants(schedule: Schedule) -> None:
    """See to it that ``schedule.args`` holds what the curve takes; a curve of the user's own takes anything.

    Raises:
        RecipeError: the curve has no such constant, or the value has no meaning.
    """
    known = CONSTANTS.get(schedule.kind)
    if known is None:
        return
    for name, value in schedule.args.items():
        place = f"schedule.args.{name}"
        if name not in known:
            remedy = f"it takes {', '.join(known)}" if known else "remove it"
            raise RecipeError(f"a {schedule.kind} curve has none", place=place, remedy=remedy)
        if value is not None and not known[name].takes(value):
            raise RecipeError(f"{value!r} has no meaning", place=place, remedy=f"write {known[name].means}")


def constant(schedule: Schedule, name: str, default: float) -> float:
    """A number of ``schedule.args``; null and silence are ``default``."""
    given = schedule.args.get(name)
    return default if given is None else float(given)  # type: ignore[arg-type]


def word(schedule: Schedule, name: str, default: str) -> str:
    """A word of ``schedule.args``; null and silence are ``default``."""
    given = schedule.args.get(name)
    return default if given is None else str(given)


def switch(schedule: Schedule, name: str, default: bool) -> bool:
    """A switch of ``schedule.args``; null and silence are ``default``."""
    given = schedule.args.get(name)
    return default if given is None else bool(given)
