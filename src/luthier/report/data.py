"""What happened to the data: the rows' fates, and what they became."""

from __future__ import annotations

from typing import Any

from luthier.record.events import Prepared
from luthier.report.figures import NOTHING, as_number, as_text, count, percent, seconds
from luthier.report.history import History
from luthier.report.markup import Content, Html, escaped, joined, table, tag
from luthier.report.source import Record
from luthier.report.words import say, say_if_known

TOLD = frozenset({"rows", "fates", "bad_rows", "lost_answer_tokens", "efficiency"})


def data(record: Record, past: History) -> Html | None:
    """The section, when rows were prepared."""
    if not past.prepared:
        return None
    head: list[Content] = ["", *(escaped(one.name) for one in past.prepared)]
    columns = [_figures(one, record) for one in past.prepared]
    rows: list[list[Content]] = [
        [label, *(column[number][1] for column in columns)] for number, (label, _) in enumerate(columns[0])
    ]
    figures = table(head, rows, figures=frozenset(range(1, len(head))), kind="facts")
    return tag(
        "section", tag("h2", say("data")), *(_fates(one) for one in past.prepared), figures, *_more(past.prepared)
    )


def _figures(one: Prepared, record: Record) -> list[tuple[Html, Content]]:
    rows = as_number(one.summary.get("rows"))
    share = f" ({percent(one.targets / one.tokens)})" if one.tokens else ""
    return [
        (say("rows"), NOTHING if rows is None else count(rows)),
        (say("documents"), count(one.documents)),
        (say("tokens"), count(one.tokens)),
        (say("trained tokens"), joined(count(one.targets), tag("span", share, class_="faint"))),
        (say("packs"), count(one.packs)),
        (say("tokens a pack"), count(one.tokens / one.packs) if one.packs else NOTHING),
        (say("efficiency"), efficiency(one, record)),
        (say("source"), say("from cache" if one.cached else "prepared")),
        (say("took"), seconds(one.seconds)),
    ]


def efficiency(one: Prepared, record: Record) -> str:
    """How full the packs are: as counted, else from the length a pack has room for."""
    counted = as_number(one.summary.get("efficiency"))
    if counted is not None:
        return percent(counted)
    room = as_number(record.setting("pack.length")) or as_number(record.setting("data.max_length"))
    if record.setting("pack.kind") in (None, "none") or not room or not one.packs:
        return NOTHING
    return percent(one.tokens / (one.packs * room))


def _fates(one: Prepared) -> Html | str:
    fates = one.summary.get("fates")
    known = (
        {name: float(number) for name, number in fates.items() if as_number(number)} if isinstance(fates, dict) else {}
    )
    total = sum(known.values())
    if not total:
        return ""
    at = 0.0
    blocks: list[Html] = []
    keys: list[Html] = []
    for name, number in sorted(known.items(), key=lambda item: -item[1]):
        x, width = f"{at / total * 100:.3f}%", f"{number / total * 100:.3f}%"
        blocks.append(tag("rect", x=x, width=width, height="100%", class_=_look(name)))
        at += number
        swatch, share = tag("i", class_=f"swatch {_look(name)}"), tag("span", percent(number / total), class_="faint")
        fate = joined(say_if_known("fate", name), " ", tag("b", count(number)), " ", share)
        keys.append(tag("span", swatch, fate, class_="key"))
    caption = tag("figcaption", tag("h3", one.name), tag("span", *keys, class_="legend"))
    return tag("figure", caption, tag("svg", *blocks, class_="bar wide", aria_hidden="true"), class_="fates")


def _look(fate: str) -> str:
    if fate in ("kept", "split", "truncated", "duplicate", "untrained"):
        return f"fate-{fate}"
    return "fate-lost"


def _more(prepared: tuple[Prepared, ...]) -> list[Html]:
    told: list[Html] = []
    for one in prepared:
        lost = as_number(one.summary.get("lost_answer_tokens"))
        if lost:
            told.append(tag("p", _name(one, prepared), say("lost", count=count(lost)), class_="faint"))
        bad = one.summary.get("bad_rows")
        if isinstance(bad, list) and bad:
            items = [tag("li", as_text(row), class_="run") for row in bad]
            summary = tag("summary", _name(one, prepared), say("bad rows"), " ", tag("small", count(len(bad))))
            told.append(tag("details", summary, tag("ul", *items)))
        rest: dict[str, Any] = {name: value for name, value in one.summary.items() if name not in TOLD}
        if rest:
            pairs: list[list[Content]] = [[name, as_text(value)] for name, value in rest.items()]
            told.append(
                tag("details", tag("summary", _name(one, prepared), say("also counted")), table(["", ""], pairs))
            )
    return told


def _name(one: Prepared, among: tuple[Prepared, ...]) -> Content:
    return joined(tag("b", one.name), " ") if len(among) > 1 else ""
