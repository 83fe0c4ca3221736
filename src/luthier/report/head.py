"""The top of the page: what ran, how far it came, and the figures it ended with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luthier.evaluate.metrics import SHARES
from luthier.record.events import Answered, Evaluated, Stepped
from luthier.report.figures import count, figure, moment, percent, seconds, short
from luthier.report.history import History
from luthier.report.markup import Content, Html, joined, tag
from luthier.report.source import Record
from luthier.report.words import say, say_if_known


def head(record: Record, past: History) -> Html:
    """Title, headline, figures."""
    started = say("begun on", moment=moment(past.begun), device=past.started.device)
    tiles = _figures(past)
    return tag(
        "header",
        tag("p", say("training report"), class_="kind"),
        tag("h1", record.name),
        tag("p", what_ran(record), " ", _how_far(past), class_="headline"),
        tag("p", started, class_="faint"),
        tag("dl", *tiles, class_="tiles") if tiles else "",
    )


def what_ran(record: Record) -> Html:
    """Method, adapter and model in a line."""
    method = say_if_known("method", str(record.setting("method.kind") or "")) or say("training")
    bits = record.setting("quantise.bits")
    parts = [method, _model(record), _adapter(record)]
    if bits in (4, 8):
        parts.append(say("in bits", bits=str(bits)))
    return tag("span", joined(*parts, by=" · "), class_="ran")


def _model(record: Record) -> Html:
    path = record.setting("model.path")
    if not isinstance(path, str) or not path:
        return tag("b", say("from scratch" if record.setting("model.scratch") else "unknown model"))
    local = path.startswith(("/", ".", "~")) or path.count("/") != 1
    return tag("b", path.rstrip("/").rsplit("/", 1)[-1] if local else path)


def _adapter(record: Record) -> Html:
    kind: Any = record.setting("adapter.kind") or "none"
    if kind == "none":
        return say("all weights")
    if kind == "lora":
        return say("dora" if record.setting("adapter.dora") else "lora", rank=str(record.setting("adapter.rank")))
    return say("adapter", kind=str(kind))


def _how_far(past: History) -> Html:
    done, planned = tag("b", count(past.last_step)), count(past.planned_steps)
    time = tag("b", seconds(past.seconds))
    if past.finished is None and past.stopped is not None:
        return say("stopped", done=done, planned=planned, seconds=time, reason=past.stopped.reason)
    if past.finished is None:
        return say("not done", done=done, planned=planned, seconds=time)
    if past.last_step >= past.planned_steps:
        return say("done", planned=planned, seconds=time)
    return say(
        "done early", reason=say_if_known("reason", past.finished.reason), done=done, planned=planned, seconds=time
    )


def _figures(past: History) -> list[Html]:
    tiles: list[Html] = []
    if past.after and past.after.metrics:
        tiles.append(_answered(past.after, past.before))
    if past.steps:
        tiles.append(_training(past.steps))
    if past.evaluations:
        tiles.append(_evaluation(past.evaluations))
        perplexity = past.evaluations[-1].metrics.get("perplexity")
        if perplexity is not None:
            note = say("at step", step=count(past.evaluations[-1].step))
            tiles.append(_tile(joined(say("perplexity"), " · ", say("evaluation loss")), figure(perplexity), note))
    seen = sum(step.tokens for step in past.steps)
    time = sum(step.seconds for step in past.steps)
    if seen and time > 0:
        speed = joined(short(seen / time), "/s")
        tiles.append(_tile(say("tokens seen"), short(seen), speed))
    return tiles


def _answered(after: Answered, before: Answered | None) -> Html:
    name, value = next(iter(after.metrics.items()))
    earlier = before.metrics.get(name) if before else None
    rows = say("of rows", rows=count(after.rows))
    note = say("from before", value=metric(name, earlier)) if earlier is not None else rows
    return _tile(say_if_known("metric", name), metric(name, value), note, first=True)


def metric(name: str, value: float) -> Html:
    """A metric's value: shares as percentages, others as they are."""
    return joined(percent(value)) if name in SHARES and value == value else figure(value)


def _training(steps: Sequence[Stepped]) -> Html:
    name = joined(say("loss"), " · ", say("training loss"))
    return _tile(name, figure(steps[-1].loss), say("from first", value=figure(steps[0].loss)))


def _evaluation(evaluations: Sequence[Evaluated]) -> Html:
    last, best = evaluations[-1], min(evaluations, key=lambda one: (one.loss != one.loss, one.loss))
    if best is not last:
        note = say("best at", value=figure(best.loss), step=count(best.step))
    elif len(evaluations) == 1:
        note = say("at step", step=count(last.step))
    else:
        note = say("from first evaluation", value=figure(evaluations[0].loss), step=count(evaluations[0].step))
    return _tile(joined(say("loss"), " · ", say("evaluation loss")), figure(last.loss), note)


def _tile(name: Content, value: Content, note: Content, *, first: bool = False) -> Html:
    parts = (tag("dt", name), tag("dd", value, class_="value"), tag("dd", note, class_="faint"))
    return tag("div", *parts, class_="tile first" if first else "tile")
