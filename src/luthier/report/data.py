"""What happened to the data: the rows' fates, and what they became."""

from __future__ import annotations

from collections.abc import Callable

from luthier.record.events import Prepared
from luthier.report.figures import NOTHING, as_number, count, percent, seconds
from luthier.report.history import History
from luthier.report.lengths import lengths
from luthier.report.markup import Content, Html, escaped, joined, table, tag
from luthier.report.remarks import name_of, remarks
from luthier.report.source import Record
from luthier.report.words import say, say_if_known


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
    bars = [lengths(one, name_of(one, past.prepared)) for one in past.prepared]
    return tag(
        "section",
        tag("h2", say("data")),
        *(_fates(one) for one in past.prepared),
        figures,
        *(bar for bar in bars if bar),
        *remarks(past.prepared, record),
    )


def _figures(one: Prepared, record: Record) -> list[tuple[Html, Content]]:
    rows = as_number(one.summary.get("rows"))
    masked = one.tokens - one.targets
    return [
        (say("rows"), NOTHING if rows is None else count(rows)),
        (say("documents"), count(one.documents)),
        (say("tokens"), count(one.tokens)),
        (say("trained tokens"), joined(count(one.targets), _share(one.targets, one.tokens))),
        (say("masked tokens"), joined(count(masked), _share(masked, one.tokens))),
        (say("packs"), joined(count(one.packs), _at_best(one, "fewest_packs", "at least", count))),
        (say("tokens a pack"), count(one.tokens / one.packs) if one.packs else NOTHING),
        (say("efficiency"), joined(efficiency(one, record), _at_best(one, "best_efficiency", "at best", percent))),
        (say("source"), say("from cache" if one.cached else "prepared")),
        (say("took"), seconds(one.seconds)),
    ]


def _share(part: float, whole: float) -> Html:
    return tag("span", f" ({percent(part / whole)})" if whole else "", class_="faint")


def _at_best(one: Prepared, name: str, words: str, show: Callable[[float], str]) -> Html:
    """What no packing could do better."""
    bound = as_number(one.summary.get(name))
    return tag("span", "" if bound is None else joined(" ", say(words, bound=show(bound))), class_="faint")


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
    if fate == "near_duplicate":
        return "fate-duplicate"
    return "fate-lost"
