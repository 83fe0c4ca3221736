"""Generated answers before and after training, side by side."""

from __future__ import annotations

from typing import Any

from luthier.evaluate.metrics import exact_match
from luthier.record.events import Answered
from luthier.report.figures import as_text, count
from luthier.report.head import metric
from luthier.report.history import History
from luthier.report.markup import Content, Html, joined, tag
from luthier.report.words import say, say_if_known

Row = dict[str, Any]


def answers(past: History) -> Html | None:
    """The section, when rows were answered."""
    newest = past.after or past.before
    if newest is None:
        return None
    both = past.before is not None and past.after is not None
    heading = tag("h2", say("answers" if both else "answers only"))
    hint = (
        ""
        if past.before
        else tag("p", say("no before", setting=tag("code", "evaluate.at_start: true")), class_="faint")
    )
    parts = (tag("div", *_metrics(past), class_="metrics"), _samples(past), _where(newest), hint)
    return tag("section", heading, *parts)


def _metrics(past: History) -> list[Html]:
    asked = [one for one in (past.before, past.after) if one]
    names = list(dict.fromkeys(name for one in asked for name in one.metrics))
    return [_metric(name, past.before, past.after) for name in names]


def _metric(name: str, before: Answered | None, after: Answered | None) -> Html:
    bars = [_bar(name, "before", before), _bar(name, "after", after)]
    rows = max(one.rows for one in (before, after) if one)
    title = tag("h3", say_if_known("metric", name), " ", tag("small", say("of rows", rows=count(rows))))
    return tag("div", title, *(bar for bar in bars if bar), class_="metric")


def _bar(name: str, when: str, asked: Answered | None) -> Html | None:
    if asked is None or name not in asked.metrics:
        return None
    value = asked.metrics[name]
    drawn: Content = ""
    if 0 <= value <= 1:
        filled = tag("rect", class_=when, width=f"{value * 100:.3f}%", height="100%")
        drawn = tag(
            "svg", tag("rect", class_="track", width="100%", height="100%"), filled, class_="bar", aria_hidden="true"
        )
    return tag("p", tag("span", say(when)), drawn, tag("b", metric(name, value)), class_=f"level {when}")


def _samples(past: History) -> Html | str:
    before, after = _by_row(past.before), _by_row(past.after)
    rows = list(dict.fromkeys([*after, *before]))
    if not rows:
        return ""
    columns = ["question", "reference", *(["before"] if past.before else []), *(["after"] if past.after else [])]
    top = tag("tr", *(tag("th", say(name), scope="col") for name in columns))
    body = [_row(before.get(key), after.get(key), past) for key in rows]
    inner = tag("table", tag("thead", top), tag("tbody", *body))
    return tag("div", inner, class_="box samples", tabindex=0)


def _row(before: Row | None, after: Row | None, past: History) -> Html:
    row = after or before or {}
    cells = [_cell("question", _text(row, "question")), _cell("reference", _text(row, "reference"))]
    for when, asked, told in (("before", past.before, before), ("after", past.after, after)):
        if asked is not None:
            cells.append(_answer(when, told, asked))
    return tag("tr", *cells)


def _answer(when: str, row: Row | None, asked: Answered) -> Html:
    if row is None:
        return _cell(when, tag("span", say("not asked"), class_="faint"))
    right = _is_right(row, asked)
    mark: Content = ""
    if right is not None:
        name = "right" if right else "wrong"
        mark = tag(
            "span",
            tag("span", "✓" if right else "✗", aria_hidden="true"),
            tag("span", say(name), class_="unseen"),
            class_=f"mark {name}",
        )
    return _cell(when, joined(mark, _text(row, "answer")))


def _cell(name: str, content: Html) -> Html:
    return tag("td", tag("span", say(name), class_="narrow"), tag("div", content, class_="words"), class_=name)


def _text(row: Row, name: str) -> Html:
    return tag("span", as_text(row.get(name, "")), dir="auto", class_="run")


def _is_right(row: Row, asked: Answered) -> bool | None:
    """What the run itself found, else the metric's own word; None when exact match was not what it asked for."""
    if "exact_match" not in asked.metrics:
        return None
    scores = row.get("scores")
    found = scores.get("exact_match") if isinstance(scores, dict) else None
    if isinstance(found, bool | int | float):
        return bool(found)
    return bool(exact_match(as_text(row.get("answer", "")), as_text(row.get("reference", ""))))


def _by_row(asked: Answered | None) -> dict[tuple[str, str, str], Row]:
    rows = asked.sample if asked else []
    return {(as_text(row.get("origin", "")), _key(row, "question"), _key(row, "reference")): row for row in rows}


def _key(row: Row, name: str) -> str:
    return as_text(row.get(name, ""))


def _where(asked: Answered) -> Html:
    shown, rows = count(len(asked.sample)), count(asked.rows)
    return tag("p", say("sample of", shown=shown, rows=rows, file=tag("code", asked.file)), class_="faint")
