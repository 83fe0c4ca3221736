"""What was saved, where the run began again, what it warned of."""

from __future__ import annotations

from luthier.report.curves import some
from luthier.report.figures import as_text, count, seconds, size
from luthier.report.history import History, Restart
from luthier.report.markup import Content, Html, joined, table, tag
from luthier.report.source import Record
from luthier.report.words import say


def notes(record: Record, past: History) -> Html:
    """The section."""
    told = [*_restarts(record, past), *_warnings(record, past)]
    parts = [*_saved(record, past), *told]
    if not told:
        parts.append(tag("p", say("no warnings"), class_="faint"))
    return tag("section", tag("h2", say("notes")), *parts)


def _saved(record: Record, past: History) -> list[Html]:
    if not past.saved:
        return [tag("p", say("nothing saved"), class_="faint")]
    result = past.finished.result if past.finished else None
    rows: list[list[Content]] = []
    for one in past.saved:
        path = tag("code", record.inside(one.path))
        named = joined(path, " ", tag("span", say("result"), class_="badge applied")) if one.path == result else path
        rows.append([count(one.step), named, size(one.bytes), seconds(one.seconds)])
    head: list[Content] = [say("step"), say("path"), say("size"), say("took")]
    return [tag("h3", say("checkpoints")), table(head, rows, figures=frozenset({0, 2, 3}))]


def _restarts(record: Record, past: History) -> list[Html]:
    if not past.restarts:
        return []
    told = [
        joined(
            say("ended", reason=one.ended) if one.ended else say("ended without a word"),
            " ",
            _restarted(record, one),
        )
        for one in past.restarts
    ]
    return [tag("h3", say("restarts")), tag("ul", *(tag("li", one) for one in told))]


def _restarted(record: Record, one: Restart) -> Html:
    return say(
        "restarted",
        step=tag("b", count(one.started.step)),
        source=tag("code", record.inside(one.started.resumed_from)) if one.started.resumed_from else say("anew"),
        device=one.started.device,
        again=count(one.again),
    )


def _warnings(record: Record, past: History) -> list[Html]:
    planned = record.plan.get("warnings")
    told: list[tuple[Html, Content]] = []
    for message in planned if isinstance(planned, list) else []:
        told.append((say("from the plan"), as_text(message)))
    told.extend((say("at step", step=count(one.step)), joined(one.message, _rows(one.rows))) for one in past.warned)
    skipped = [float(step.step) for step in past.steps if step.skipped]
    if skipped:
        message = say("skipped", count=count(len(skipped)), steps=some(skipped))
        told.append((tag("span", "NaN", class_="bad"), message))
    if not told:
        return []
    items = (
        tag("li", tag("span", where, class_="where"), tag("div", message, class_="run")) for where, message in told
    )
    return [tag("h3", say("warnings")), tag("ul", *items, class_="warnings")]


def _rows(rows: list[str]) -> Html:
    """The rows that a warning is about, folded away."""
    if not rows:
        return Html()
    summary = tag("summary", say("rows"), " ", tag("small", count(len(rows))))
    return tag("details", summary, tag("ul", *(tag("li", tag("code", as_text(row))) for row in rows)))
