"""The plan beside what happened."""

from __future__ import annotations

from typing import Any

from luthier.report.data import efficiency
from luthier.report.figures import NOTHING, as_number, as_text, count, moment, percent, plain, seconds, size
from luthier.report.history import History
from luthier.report.markup import Content, Html, joined, table, tag
from luthier.report.source import Record
from luthier.report.words import say, say_if_known

COMPARED = frozenset({"steps", "tokens", "targets", "time", "memory", "documents", "packs", "efficiency", "disk"})
TOLD = COMPARED | {"parameters", "operations", "steps_per_epoch", "epochs", "warnings"}


def outcome(record: Record, past: History) -> Html:
    """The section."""
    plan = record.plan
    head: list[Content] = ["", say("planned"), say("happened"), say("of plan")]
    both = table(head, _rows(record, past), figures=frozenset({1, 2, 3}), kind="facts")
    none = tag("p", say("no plan"), class_="faint")
    parts = (_shape(plan), _memory(plan.get("memory")), _rest(plan)) if plan else (none,)
    parts = (*parts, _later(record))
    both = joined(_proof(past), both)
    return tag("section", tag("h2", say("plan")), both, *(part for part in parts if part))


def _proof(past: History) -> Html:
    """What moved and what did not, by the hashes of all parameters; and which step's weights are the result."""
    told: list[Html] = []
    if past.chosen is not None:
        value, name = plain(past.chosen.value), say_if_known("metric", past.chosen.metric)
        told.append(tag("p", say("chosen", step=tag("b", count(past.chosen.best_step)), metric=name, value=value)))
    if past.compared is not None:
        moved, unmoved = (tag("b", count(one)) for one in (past.compared.moved, past.compared.unmoved))
        told.append(tag("p", say("proved", moved=moved, unmoved=unmoved)))
        for label, names in (("stood still", past.compared.stood_still), ("drifted", past.compared.drifted)):
            if names:
                told.append(tag("p", say(label), " ", tag("code", ", ".join(names)), class_="bad"))
    return joined(*told)


def _rows(record: Record, past: History) -> list[list[Content]]:
    plan = record.plan
    disk = plan.get("disk")
    rows = [
        _row(say("steps"), as_number(plan.get("steps", past.planned_steps)), past.last_step, count),
        _row(say("tokens seen"), _in_all(plan, "tokens"), sum(step.tokens for step in past.steps), count),
        _row(say("targets seen"), _in_all(plan, "targets"), sum(step.targets for step in past.steps), count),
        _row(say("time in steps"), as_number(plan.get("time")), sum(step.seconds for step in past.steps), seconds),
        [say("waiting"), "", _waiting(past), ""],
        _row(say("memory"), _total(plan.get("memory")), max((step.memory for step in past.steps), default=0), size),
    ]
    if past.prepared:
        train = past.prepared[0]
        rows.append(_row(say("documents"), as_number(plan.get("documents")), train.documents, count))
        rows.append(_row(say("packs"), as_number(plan.get("packs")), train.packs, count))
        planned = as_number(plan.get("efficiency"))
        happened = efficiency(train, record)
        rows.append([say("efficiency"), NOTHING if planned is None else percent(planned), happened, ""])
    if isinstance(disk, dict):
        result = past.finished.result if past.finished else ""
        kept = [one.bytes for one in past.saved if one.path != result]
        final = [one.bytes for one in past.saved if one.path == result]
        rows.append(_row(say("disk checkpoint"), as_number(disk.get("checkpoint")), max(kept, default=0), size))
        rows.append(_row(say("disk result"), as_number(disk.get("result")), max(final, default=0), size))
    return rows


def _waiting(past: History) -> Html:
    """How long steps waited for their data, and the share of their time."""
    waited, whole = (sum(getattr(step, name) for step in past.steps) for name in ("waited", "seconds"))
    return joined(seconds(waited), tag("span", f" ({percent(waited / whole)})" if whole else "", class_="faint"))


def _row(name: Html, planned: float | None, happened: float, show: Any) -> list[Content]:
    share = percent(happened / planned) if planned and happened else ""
    return [name, NOTHING if planned is None else show(planned), show(happened) if happened else NOTHING, share]


def _in_all(plan: dict[str, Any], name: str) -> float | None:
    """A figure of one epoch, over the whole run."""
    one, epochs = as_number(plan.get(name)), as_number(plan.get("epochs"))
    return None if one is None else one * (epochs or 1.0)


def _parts(memory: Any) -> dict[str, float]:
    numbers = {name: as_number(value) for name, value in memory.items()} if isinstance(memory, dict) else {}
    return {name: value for name, value in numbers.items() if value is not None and name != "total"}


def _total(memory: Any) -> float | None:
    named = as_number(memory.get("total")) if isinstance(memory, dict) else as_number(memory)
    return named if named is not None else sum(_parts(memory).values()) or None


def _shape(plan: dict[str, Any]) -> Html | None:
    rows: list[list[Content]] = []
    parameters = plan.get("parameters")
    if isinstance(parameters, dict):
        total, trained = as_number(parameters.get("total")), as_number(parameters.get("trainable"))
        if total and trained is not None:
            share = percent(trained / total)
            rows.append(
                [say("parameters"), say("trainable", total=count(total), trainable=count(trained), share=share)]
            )
    elif (number := as_number(parameters)) is not None:
        rows.append([say("parameters"), count(number)])
    for name, label, show in (
        ("steps_per_epoch", "steps per epoch", count),
        ("epochs", "epochs", plain),
        ("operations", "operations", plain),
    ):
        value = as_number(plan.get(name))
        if value is not None:
            rows.append([say(label), show(value)])
    return table(["", ""], rows, kind="facts") if rows else None


def _memory(memory: Any) -> Html | None:
    parts = _parts(memory)
    largest = max(parts.values(), default=0)
    if not largest:
        return None
    rows: list[list[Content]] = []
    for name, value in sorted(parts.items(), key=lambda item: -item[1]):
        filled = tag("rect", width=f"{max(0.0, value) / largest * 100:.3f}%", height="100%", class_="after")
        rows.append([name, tag("svg", filled, class_="bar", aria_hidden="true"), size(value)])
    return tag(
        "div", tag("h3", say("memory by part")), table(["", "", ""], rows, figures=frozenset({2}), kind="facts bars")
    )


def _later(record: Record) -> Html | None:
    """What has been measured of the result since the run, newest last."""
    rows: list[list[Content]] = []
    for one in record.later:
        data, figures, when = one.get("data"), one.get("figures"), as_text(one.get("when", ""))
        named = [as_text(name) for name in data] if isinstance(data, list) and data else []
        told = [
            joined(say_if_known("metric", name), " ", tag("b", plain(number)))
            for name, value in (figures.items() if isinstance(figures, dict) else ())
            if (number := as_number(value)) is not None
        ]
        at = as_number(one.get("at"))
        where = joined(*(tag("code", name) for name in named), by=", ") if named else say("own rows")
        rows.append([moment(at) if at else NOTHING, where, say(when) if when in ("before", "after") else when,
                     joined(*told, by=" · ")])  # fmt: skip
    if not rows:
        return None
    return tag("div", tag("h3", say("measured later")), table(["", "", "", ""], rows, kind="facts"))


def _rest(plan: dict[str, Any]) -> Html | None:
    rows: list[list[Content]] = [[name, as_text(value)] for name, value in plan.items() if name not in TOLD]
    return (
        tag("details", tag("summary", say("more of the plan")), table(["", ""], rows, kind="record")) if rows else None
    )
