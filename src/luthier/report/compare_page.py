"""The comparison of runs as one HTML page, in the looks of the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from luthier.record.folder import RunFolder, write_whole
from luthier.report.chart import Line, chart
from luthier.report.comparison import Side, answers, data_apart, measured, settings_apart, sides
from luthier.report.curves import FEW
from luthier.report.figures import plain
from luthier.report.head import what_ran
from luthier.report.markup import Content, Html, joined, table, tag
from luthier.report.page import document
from luthier.report.series import Point, smoothed
from luthier.report.source import Record, read_record
from luthier.report.words import say, say_if_known

LOOKS = 8
"""Colours that the style has for runs; more runs begin with the first one again."""


def write_comparison(folders: Sequence[RunFolder], page: Path) -> Path:
    """Write the comparison of some runs as a page.

    Raises:
        RunError: one of the folders is no run's, or a record of it is damaged.
    """
    write_whole(page, build_comparison([read_record(folder) for folder in folders]))
    return page


def build_comparison(records: Sequence[Record]) -> str:
    """The page, a pure function of the runs' records."""
    runs = sides(records)
    head = tag(
        "header",
        tag("p", say("comparison"), class_="kind"),
        tag("h1", joined(*(run.name for run in runs), by=" · ")),
        tag("ul", *(_told(number, run) for number, run in enumerate(runs)), class_="runs"),
    )
    parts = (head, _figures(runs), _curves(runs), _settings(runs), _answers(runs))
    return document(" · ".join(run.name for run in runs), parts)


def _told(number: int, run: Side) -> Html:
    return tag("li", _swatch(number), tag("b", run.name), " ", what_ran(run.record))


def _swatch(number: int) -> Html:
    return tag("i", class_=f"swatch {_look(number)}")


def _look(number: int) -> str:
    return f"run-{number % LOOKS}"


def _figures(runs: Sequence[Side]) -> Html:
    head: list[Content] = ["", *(joined(_swatch(number), run.name) for number, run in enumerate(runs))]
    rows: list[list[Content]] = []
    for one in measured(runs):
        shown = [tag("b", word) if at == one.best else word for at, word in enumerate(one.shown)]
        rows.append([_name(one.key), *shown])
    apart = data_apart(runs)
    note = tag("p", say("other data", sets=", ".join(apart)), class_="bad") if apart else ""
    return tag(
        "section",
        tag("h2", say("figures")),
        note,
        table(head, rows, figures=frozenset(range(1, len(head))), kind="facts"),
    )


def _name(key: str) -> Html:
    prefix, _, name = key.partition(" ")
    return say_if_known("metric", name) if prefix == "metric" else say(key)


def _curves(runs: Sequence[Side]) -> Html:
    training = _chart("training", runs, say("training loss of runs"), _training, height=280)
    evaluated = _chart("evaluated", runs, say("evaluation loss of runs"), _evaluated, height=280)
    charts = [one for one in (training, evaluated) if one]
    return tag("section", tag("h2", say("curves")), *(charts or [tag("p", say("no steps"), class_="faint")]))


def _training(run: Side) -> list[Point]:
    points: list[Point] = [(float(step.step), step.loss) for step in run.past.steps]
    return points if len(points) <= FEW else smoothed(points)


def _evaluated(run: Side) -> list[Point]:
    return [(float(one.step), one.loss) for one in run.past.evaluations]


def _chart(
    name: str, runs: Sequence[Side], title: Html, points: Callable[[Side], list[Point]], *, height: int
) -> Html | None:
    lines = [
        Line(told, _look(number), tag("span", run.name), plain(told[-1][1]), dots=len(told) == 1)
        for number, run in enumerate(runs)
        if (told := points(run))
    ]
    return chart(name, title, lines, axis=say("by step"), show=plain, height=height) if lines else None


def _settings(runs: Sequence[Side]) -> Html:
    head: list[Content] = [say("setting"), *(run.name for run in runs)]
    rows: list[list[Content]] = [
        [tag("code", name), *(tag("code", value) for value in values)] for name, values in settings_apart(runs)
    ]
    body = table(head, rows, kind="record") if rows else tag("p", say("same settings"), class_="faint")
    return tag("section", tag("h2", say("settings apart")), body)


def _answers(runs: Sequence[Side]) -> Html | str:
    rows = answers(runs)
    if not rows:
        return ""
    head = tag("tr", *(tag("th", one, scope="col") for one in (say("question"), say("reference"), *_names(runs))))
    body = (
        tag("tr", _cell(say("question"), question), _cell(say("reference"), reference, "reference"),
            *(_cell(tag("span", run.name), text) for run, text in zip(runs, said, strict=True)))
        for question, reference, said in rows
    )  # fmt: skip
    inner = tag("table", tag("thead", head), tag("tbody", *body))
    return tag("section", tag("h2", say("answers of runs")), tag("div", inner, class_="box samples", tabindex=0))


def _names(runs: Sequence[Side]) -> list[Html]:
    return [joined(_swatch(number), run.name) for number, run in enumerate(runs)]


def _cell(name: Html, text: str, kind: str | None = None) -> Html:
    words = tag("div", tag("span", text, dir="auto", class_="run"), class_="words")
    return tag("td", tag("span", name, class_="narrow"), words, class_=kind)
