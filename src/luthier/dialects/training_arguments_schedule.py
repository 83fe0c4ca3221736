"""TrainingArguments of the learning rate's schedule: its curve, the curve's constants, its warm-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.dialects import names
from luthier.dialects.plain_values import mapping, number, whole
from luthier.dialects.table import Cannot, Effect, Row, Spread, Values, applied, inert
from luthier.recipe.schedule import FOLLOWING

COLD = ("constant", *FOLLOWING)
"""Schedules that have no warm-up upstream, whatever is asked for."""

LEARNING_RATE = 5e-5
"""Upstream's learning rate when none is given."""


def _kind(values: Values) -> str:
    given = values.get("lr_scheduler_type")
    return "linear" if given is None else names.schedule(given)


def schedule(value: Any, values: Values) -> Effect:
    """``lr_scheduler_type``; what its name implies about warm-up and minimum comes along."""
    curve, given = _kind(values), values.get("lr_scheduler_kwargs")
    if curve in FOLLOWING:
        return _following(curve, values)
    if curve == "constant":
        return applied({"schedule.kind": "constant", "schedule.warmup_steps": 0}, "constant has no warm-up at all")
    settings: dict[str, Any] = {
        "schedule.kind": {"constant_with_warmup": "constant", "cosine_with_min_lr": "cosine"}.get(curve, curve)
    }
    constants = mapping(given) if given else {}
    if curve == "cosine_with_restarts" and "num_cycles" not in constants:
        settings["schedule.cycles"] = 1.0
    if curve == "polynomial" and "lr_end" not in constants:
        settings["schedule.minimum"] = 1e-7 / _rate(values)
    if curve == "warmup_stable_decay" and "num_decay_steps" not in constants:
        raise Cannot("it needs to know how long it falls", 'write lr_scheduler_kwargs: {"num_decay_steps": 100}')
    return applied(settings, "the curve after warm-up" if curve == "constant_with_warmup" else "")


def _following(curve: str, values: Values) -> Effect:
    """A schedule that goes by ``metric_for_best_model``, which it takes to be better when it is lower, whatever
    ``greater_is_better`` says."""
    settings: dict[str, Any] = {"schedule.kind": curve, "schedule.warmup_steps": 0}
    constants = mapping(values.get("lr_scheduler_kwargs") or {})
    if constants.get("mode") is None:
        settings["schedule.args.mode"] = "min"
    return applied(settings, "told after each evaluation; it has no warm-up")


def _rate(values: Values) -> float:
    given = values.get("learning_rate")
    rate = LEARNING_RATE if given is None else number(given)
    if rate <= 0:
        raise Cannot("a learning rate of 0 has no share", "write a learning rate above 0")
    return rate


OWN_CONSTANTS = {
    "inverse_sqrt": ("timescale",),
    "cosine_warmup_with_min_lr": ("warmup_lr_rate",),
    "warmup_stable_decay": ("decay_type",),
    "one_cycle": (
        *("div_factor", "final_div_factor", "anneal_strategy", "three_phase"),
        *("cycle_momentum", "base_momentum", "max_momentum"),
    ),
    "reduce_lr_on_plateau": ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "eps"),
    "greedy": (
        *("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "warmup", "min_lr", "max_lr"),
        *("eps", "smooth", "window_size", "reset_start"),
    ),
}
"""Constants that go along with a curve under their own names."""

CURVES = {
    "cosine": ("num_cycles",),
    "cosine_with_restarts": ("num_cycles",),
    "polynomial": ("power", "lr_end"),
    "cosine_with_min_lr": ("num_cycles", "min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("num_cycles", "min_lr", "min_lr_rate"),
    "warmup_stable_decay": ("num_cycles", "num_decay_steps", "num_stable_steps", "min_lr_ratio", "warmup_type"),
    "reduce_lr_on_plateau": ("min_lr",),
    "one_cycle": ("pct_start",),
}
"""Constants that are settings here, by the curve that takes them upstream; the others take none."""

NUMBERS = {"num_cycles": "schedule.cycles", "pct_start": "schedule.warmup_share", "power": "schedule.power"}
"""Constants that are the same number here."""

WARMUPS = ("linear", "cosine", "1-sqrt")


def curve_constants(kind: str, given: dict[str, Any], rate: Callable[[], float]) -> dict[str, Any]:
    """Settings for the constants of a curve, under upstream's names; null leaves one at its default.

    Raises:
        Cannot: the curve takes no such constant, upstream neither.
    """
    settings: dict[str, Any] = {}
    for name, constant in given.items():
        own = OWN_CONSTANTS.get(kind, ())
        if name not in (*own, *CURVES.get(kind, ())):
            raise Cannot(f"a {kind} schedule takes no {name}", "remove it")
        if constant is None:
            continue
        if name in own:
            settings[f"schedule.args.{name}"] = constant
        elif name in NUMBERS:
            settings[NUMBERS[name]] = number(constant)
        elif name in ("min_lr", "lr_end"):
            settings["schedule.minimum"] = number(constant) / rate()
        elif name == "num_decay_steps":
            settings["schedule.decay"] = whole(constant)
        elif name == "num_stable_steps":
            settings["schedule.stable"] = whole(constant)
        elif name == "warmup_type":
            settings["schedule.warmup"] = names.member(constant, WARMUPS, "rise of a warm-up")
        else:
            settings["schedule.minimum"] = number(constant)
            if name == "min_lr_ratio":  # there the warm-up starts where the fall ends
                settings["schedule.warmup_from"] = number(constant)
    return settings


def schedule_constants(value: Any, values: Values) -> Effect:
    """``lr_scheduler_kwargs``: those that are settings here become settings, the rest go along as they are."""
    if not value:
        return inert("empty")
    given = mapping(value)
    if _kind(values).startswith("constant"):
        return inert("a constant rate takes none, upstream neither")
    given.pop("verbose", None)
    settings = curve_constants(_kind(values), given, lambda: _rate(values))
    return applied(settings) if settings else inert("empty")


def warmup_steps(value: Any, values: Values) -> Effect:
    """``warmup_steps``: wins over the ratio when above 0; today's below 1 is a ratio."""
    if _kind(values) in COLD:
        return inert(f"{_kind(values)} has no warm-up")
    given = number(value) if value is not None else 0.0
    if given <= 0 and number(values.get("warmup_ratio") or 0) > 0:
        return inert("0 does not mean no warm-up: it gives way to warmup_ratio")
    if 0 < given < 1:
        return applied({"schedule.warmup_share": given}, "below 1 it is a share of the run")
    return applied({"schedule.warmup_steps": max(0, whole(given))})


def warmup_ratio(value: Any, values: Values) -> Effect:
    """``warmup_ratio``: a share of the run, rounded up to steps."""
    if _kind(values) in COLD:
        return inert(f"{_kind(values)} has no warm-up")
    if number(values.get("warmup_steps") or 0) > 0:
        return inert("warmup_steps wins")
    if value is None or number(value) <= 0:
        return applied({"schedule.warmup_steps": 0})
    return applied(
        {"schedule.warmup_share": number(value)},
        "rounded up to whole steps, as upstream did; transformers 5 calls it warmup_steps below 1",
    )


def no_warmup(values: Values) -> bool:
    """Whether no key asks for warm-up."""
    return not values.get("warmup_steps") and not values.get("warmup_ratio")


_OWN = sorted({name for names_ in OWN_CONSTANTS.values() for name in names_})

CONSTANTS = (
    *("schedule.cycles", "schedule.power", "schedule.minimum", "schedule.decay", "schedule.stable", "schedule.warmup"),
    *("schedule.warmup_from", *(f"schedule.args.{name}" for name in _OWN)),
)
"""What the constants of a curve may make."""

SCHEDULE: tuple[Row, ...] = (
    Spread(
        "lr_scheduler_type",
        ("schedule.kind", "schedule.warmup_steps", "schedule.cycles", "schedule.minimum", "schedule.args.mode"),
        schedule,
    ),
    Spread(
        "lr_scheduler_kwargs",
        CONSTANTS,
        schedule_constants,
        whole=True,
    ),
    Spread("warmup_steps", ("schedule.warmup_steps", "schedule.warmup_share"), warmup_steps),
    Spread("warmup_ratio", ("schedule.warmup_share", "schedule.warmup_steps"), warmup_ratio),
)
