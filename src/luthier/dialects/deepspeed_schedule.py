"""The ``scheduler`` block of a DeepSpeed file, and what its silence means."""

from __future__ import annotations

from typing import Any

from luthier.dialects.companion import found
from luthier.dialects.deepspeed_agreed import agreed, first
from luthier.dialects.table import Cannot, Effect, Inert, Row, Spread, Values, applied, inert

_PARAMS = "scheduler.params."

SCHEDULES = {"warmuplr": "warmup_lr", "warmupdecaylr": "warmup_decay_lr", "warmupcosinelr": "warmup_cosine_lr"}
"""DeepSpeed's schedules -> ours, which are the same."""


def _schedule(value: Any, values: Values) -> Effect:
    name = str(value).lower()
    if name not in SCHEDULES:
        raise Cannot(f"DeepSpeed's schedule {value!r} is not there", "use WarmupLR, WarmupDecayLR or WarmupCosineLR")
    made: dict[str, Any] = {"schedule.kind": SCHEDULES[name]}
    log = found(values, _PARAMS + "warmup_type") is None
    if log:
        made["schedule.warmup"] = "log"
    if found(values, _PARAMS + "warmup_num_steps") is None:
        made["schedule.warmup_steps"] = DEFAULT_WARMUP
    if name == "warmupcosinelr" and found(values, _PARAMS + "cos_min_ratio") is None:
        made["schedule.minimum"] = DEFAULT_MINIMUM
    if default_peak(values):
        made["optimizer.lr"] = DEFAULT_PEAK
    told = "DeepSpeed's own warm-up (log(step + 1) / log(warmup_num_steps))" if log else "a warm-up"
    after = {"warmuplr": "a constant rate", "warmupdecaylr": "a straight line down"}.get(name, "a cosine")
    return applied(
        made,
        f"it replaces the recipe's own schedule: {told}, then {after}; what scheduler.params leaves out is DeepSpeed's "
        "own: 1000 steps of warm-up, a peak of 0.001, a cosine's end at 0.0001 of it",
    )


DEFAULT_WARMUP, DEFAULT_PEAK, DEFAULT_MINIMUM = 1000, 0.001, 1e-4
"""What DeepSpeed's schedules take where scheduler.params is silent; auto is the recipe's number instead."""


def default_peak(values: Values) -> bool:
    """Whether the schedule's peak is DeepSpeed's own: WarmupCosineLR alone takes the optimiser's."""
    given = str(found(values, "scheduler.type")).lower() in ("warmuplr", "warmupdecaylr")
    return given and found(values, _PARAMS + "warmup_max_lr") is None


def default_warmup(values: Values) -> bool:
    """Whether the schedule's warm-up has DeepSpeed's own length."""
    given = str(found(values, "scheduler.type")).lower() in SCHEDULES
    return given and found(values, _PARAMS + "warmup_num_steps") is None


def _warmup_type(value: Any, values: Values) -> Effect:
    if str(value).lower() not in ("log", "linear"):
        raise Cannot(f"{value!r} is no warm-up", "write log or linear")
    return applied({"schedule.warmup": str(value).lower()})


def _lowest(value: Any, values: Values) -> Effect:
    """``warmup_min_lr``, a rate; ours is a share of the peak."""
    if value in (None, "auto", 0):
        return inert("the warm-up starts at 0")
    peak = first(values, _PARAMS + "warmup_max_lr", "optimizer.params.lr", "learning_rate")
    if default_peak(values):
        peak = DEFAULT_PEAK
    if peak is None or not 0 <= float(value) <= float(peak):
        raise Cannot("a warm-up starts between 0 and the peak", "write warmup_max_lr beside it, and a lower rate")
    return applied({"schedule.warmup_from": float(value) / float(peak)})


def _whole_run(value: Any, values: Values) -> Effect:
    if value in (None, "auto") or value == found(values, "max_steps"):
        return inert("the schedule ends with the run")
    raise Cannot("the schedule ends with the run", "write auto, or the same number as max_steps")


SCHEDULE: tuple[Row, ...] = (
    Spread(
        "scheduler.type",
        ("schedule.kind", "schedule.warmup", "schedule.warmup_steps", "schedule.minimum", "optimizer.lr"),
        _schedule,
    ),
    Spread(_PARAMS + "warmup_type", ("schedule.warmup",), _warmup_type),
    Spread(_PARAMS + "warmup_min_lr", ("schedule.warmup_from",), _lowest),
    agreed(_PARAMS + "warmup_max_lr", "optimizer.lr", float),
    agreed(_PARAMS + "warmup_num_steps", "schedule.warmup_steps", int),
    Spread(_PARAMS + "total_num_steps", (), _whole_run),
    agreed(_PARAMS + "cos_min_ratio", "schedule.minimum", float),
    agreed(_PARAMS + "warmup_min_ratio", "schedule.warmup_from", float),
    Inert(_PARAMS + "last_batch_iteration", "resuming knows its step"),
)
