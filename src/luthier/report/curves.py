"""The run's curves: losses, learning rate, gradient norm, speed, memory, and every metric that was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from luthier.record.events import Stepped
from luthier.report.chart import Line, chart
from luthier.report.figures import count, plain, size
from luthier.report.history import History
from luthier.report.markup import Html, tag
from luthier.report.series import Point, smoothed
from luthier.report.words import say, say_if_known

FEW = 40
"""Up to so many steps are drawn as dots on a line, without a mean."""


def curves(past: History) -> Html:
    """The section."""
    heading = tag("h2", say("curves"))
    if not past.steps and not past.evaluations:
        return tag("section", heading, tag("p", say("no steps"), class_="faint"))
    small = [_rate(past), _norm(past), _speed(past), _memory(past)] if past.steps else []
    charts = [tag("div", *small, class_="small-charts")]
    if measured := _metrics(past):
        charts += [tag("h3", say("over time")), tag("div", *measured, class_="small-charts")]
    return tag("section", heading, _loss(past), *charts)


def _loss(past: History) -> Html:
    training: list[Point] = [(step.step, step.loss) for step in past.steps]
    evaluated: list[Point] = [(one.step, one.loss) for one in past.evaluations]
    lines = _with_mean(training)
    if evaluated:
        name, value = say("evaluation loss"), plain(evaluated[-1][1])
        lines.append(Line(evaluated, "second", name, value, dots=len(evaluated) <= 2 * FEW))
    notes = _missing([*training, *evaluated])
    if past.restarts:
        notes.append(say("restart rule"))
    return chart(
        "loss",
        say("loss"),
        lines,
        axis=say("by step"),
        show=plain,
        notes=notes,
        rules=[restart.started.step for restart in past.restarts],
        height=280,
    )


def _with_mean(points: list[Point]) -> list[Line]:
    if not points:
        return []
    value = plain(points[-1][1])
    if len(points) <= FEW:
        return [Line(points, "main", say("training loss"), value, dots=True)]
    return [Line(points, "raw", say("each step"), value), Line(smoothed(points), "main", say("smoothed"))]


def _rate(past: History) -> Html:
    points = [(float(step.step), step.lr) for step in past.steps]
    line = Line(points, "main", say("every step"), plain(points[-1][1]), dots=len(points) == 1)
    return chart("rate", say("learning rate"), [line], axis=say("by step"), show=plain, notes=_missing(points))


def _norm(past: History) -> Html:
    points = [(float(step.step), step.gradient_norm) for step in past.steps]
    lines = _measured(points, plain(points[-1][1]))
    return chart(
        "norm", say("gradient norm"), lines, axis=say("by step"), show=plain, notes=_missing(points), spiky=True
    )


def _speed(past: History) -> Html:
    points = [(float(step.step), speed(step)) for step in past.steps if step.seconds > 0]
    lines = _measured(points, count(points[-1][1]) if points else "")
    return chart("speed", say("speed"), lines, axis=say("by step"), show=count, notes=_missing(points))


def _memory(past: History) -> Html:
    points = [(float(step.step), float(step.memory)) for step in past.steps]
    line = Line(points, "main", say("highest so far"), size(points[-1][1]), dots=len(points) == 1)
    return chart("memory", say("memory"), [line], axis=say("by step"), show=size)


def _metrics(past: History) -> list[Html]:
    """A chart for each metric: of training steps, of evaluations, of answers to evaluation rows."""
    training = [(step.step, step.metrics) for step in past.steps]
    measured = [(one.step, one.metrics) for one in past.evaluations] + [(one.step, one.metrics) for one in past.during]
    names = dict.fromkeys(name for _, metrics in [*training, *measured] for name in metrics)
    return [_metric(number, name, training, measured) for number, name in enumerate(names)]


Told = Sequence[tuple[int, dict[str, float]]]


def _metric(number: int, name: str, training: Told, measured: Told) -> Html:
    steps, found = (
        sorted((float(step), metrics[name]) for step, metrics in told if name in metrics)
        for told in (training, measured)
    )
    lines = _with_mean(steps)
    if found:
        lines.append(Line(found, "second", say("evaluation loss"), plain(found[-1][1]), dots=len(found) <= 2 * FEW))
    notes = _missing([*steps, *found])
    return chart(f"metric-{number}", say_if_known("metric", name), lines, axis=say("by step"), show=plain, notes=notes)


def speed(step: Stepped) -> float:
    """Tokens a second of one step, waiting for data included."""
    return step.tokens / step.seconds


def _measured(points: Sequence[Point], value: str) -> list[Line]:
    if len(points) <= FEW:
        return [Line(points, "main", say("every step"), value, dots=True)]
    mean = smoothed(points, geometric=True)
    return [Line(points, "raw", say("every step"), value), Line(mean, "main", say("smoothed"))]


def _missing(points: Sequence[Point]) -> list[Html]:
    steps = sorted({at for at, value in points if not math.isfinite(value)})
    if not steps:
        return []
    return [tag("span", say("not a number", count=count(len(steps)), steps=some(steps)), class_="bad")]


def some(steps: Sequence[float], most: int = 12) -> str:
    """Steps in a row of words, the first ones when there are many.

    >>> some([3, 4, 9], 2)
    '3, 4, …'
    """
    return ", ".join(f"{step:.0f}" for step in steps[:most]) + (", …" if len(steps) > most else "")
