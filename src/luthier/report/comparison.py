"""Several runs side by side: what they were told, what they reached, what it took."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

from luthier.report.figures import NOTHING, count, plain, seconds, size
from luthier.report.history import History, history
from luthier.report.source import Record

UNSET = object()
PLACES = ("output.dir", "track")
"""Settings that name a run rather than say what it does."""


@dataclass(frozen=True, slots=True)
class Side:
    """One run of a comparison."""

    name: str
    record: Record
    past: History


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure of every run: ``key`` names it in the page's words, ``values`` are None where a run has none.

    ``best`` is the place of the best one, where one is better than another."""

    key: str
    values: tuple[float | None, ...]
    shown: tuple[str, ...]
    best: int | None = None


def sides(records: Sequence[Record]) -> tuple[Side, ...]:
    """Runs by the names of their folders; those of one name get a number."""
    names = [record.name for record in records]
    told = [
        f"{name} ({names[:at].count(name) + 1})" if names.count(name) > 1 else name for at, name in enumerate(names)
    ]
    return tuple(Side(name, one, history(one.events)) for name, one in zip(told, records, strict=True))


def settings_apart(runs: Sequence[Side]) -> list[tuple[str, tuple[str, ...]]]:
    """(setting, its value in each run) of every setting that is not the same in all; one a run lacks is ``–``."""
    flat = [dict(_flat(run.record.recipe)) for run in runs]
    names = dict.fromkeys(name for one in flat for name in one)
    apart = []
    for name in names:
        values = [one.get(name, UNSET) for one in flat]
        if not name.startswith(PLACES) and any(value != values[0] for value in values):
            apart.append((name, tuple(NOTHING if value is UNSET else _text(value) for value in values)))
    return apart


def _flat(tree: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def data_apart(runs: Sequence[Side]) -> list[str]:
    """The sets (train, evaluation) whose tokens are not the same in all runs, so that losses do not compare."""
    keys: dict[str, set[str]] = {}
    for run in runs:
        for one in run.past.prepared:
            keys.setdefault(one.name, set()).add(one.key)
    return [name for name, found in keys.items() if len(found) > 1]


def measured(runs: Sequence[Side]) -> list[Measured]:
    """Every figure that at least one of the runs has."""
    rows = [
        _row("steps", runs, lambda past: past.last_step or None, count),
        _row("tokens seen", runs, lambda past: sum(step.tokens for step in past.steps) or None, count),
        _row("training loss", runs, lambda past: past.steps[-1].loss if past.steps else None, plain),
        _row("last evaluation", runs, lambda past: next(reversed(_evaluations(past)), None), plain, min),
        _row("best evaluation", runs, lambda past: min(filter(isfinite, _evaluations(past)), default=None), plain, min),
    ]
    names = dict.fromkeys(name for run in runs if run.past.after for name in run.past.after.metrics)
    rows += [_row(f"metric {name}", runs, partial(_answered, name), plain, max) for name in names]
    rows += [
        _row("speed", runs, _speed, count, max),
        _row("time", runs, lambda past: past.seconds or None, seconds, min),
        _row("memory", runs, lambda past: max((step.memory for step in past.steps), default=None), size, min),
        _row("restarts", runs, lambda past: float(len(past.restarts)), count),
    ]
    return [row for row in rows if any(value is not None for value in row.values)]


def _evaluations(past: History) -> list[float]:
    return [one.loss for one in past.evaluations]


def _answered(name: str, past: History) -> float | None:
    return past.after.metrics.get(name) if past.after else None


def _speed(past: History) -> float | None:
    """Tokens a second over all steps."""
    spent = sum(step.seconds for step in past.steps)
    return sum(step.tokens for step in past.steps) / spent if spent else None


def _row(
    key: str,
    runs: Sequence[Side],
    of: Callable[[History], float | None],
    show: Callable[[float], str],
    better: Callable[..., Any] | None = None,
) -> Measured:
    values = tuple(of(run.past) for run in runs)
    known = [(value, at) for at, value in enumerate(values) if value is not None and isfinite(value)]
    best = None
    if better is not None and len({value for value, _ in known}) > 1:
        best = better(known)[1]
    return Measured(key, values, tuple(NOTHING if value is None else show(value) for value in values), best)


def answers(runs: Sequence[Side]) -> list[tuple[str, str, tuple[str, ...]]]:
    """(question, reference, each run's last answer) of the rows that the runs' events hold samples of."""
    found: dict[tuple[str, str], list[str]] = {}
    for at, run in enumerate(runs):
        for row in run.past.after.sample if run.past.after else ():
            key = _text(row.get("question", "")), _text(row.get("reference", ""))
            found.setdefault(key, [NOTHING] * len(runs))[at] = _text(row.get("answer", ""))
    return [(question, reference, tuple(said)) for (question, reference), said in found.items()]
