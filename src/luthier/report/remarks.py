"""What else is told of the rows: tokens lost, how files were read, rows set aside, sources."""

from __future__ import annotations

from typing import Any

from luthier.record.events import Prepared
from luthier.report.figures import as_number, as_text, count
from luthier.report.markup import Content, Html, joined, table, tag
from luthier.report.source import Record
from luthier.report.words import say, say_if_known

PACKING = frozenset({"efficiency", "fewest_packs", "best_efficiency"})
TOLD = PACKING | {
    "rows", "fates", "bad_rows", "lost_answer_tokens", "lost_targets", "lengths", "notes", "quarantine",
    "documents_by_source",
}  # fmt: skip


def remarks(prepared: tuple[Prepared, ...], record: Record) -> list[Html]:
    """Paragraphs and folded lists, of each of the prepared sets."""
    told: list[Html] = []
    for one in prepared:
        lost = as_number(one.summary.get("lost_answer_tokens"))
        if lost:
            words = joined(say("lost", count=count(lost)), _lost_by_fate(one))
            told.append(tag("p", name_of(one, prepared), words, class_="faint"))
        told += [tag("p", name_of(one, prepared), as_text(note), class_="faint") for note in _list(one, "notes")]
        told += _sources(one, prepared, record)
        if bad := _list(one, "bad_rows"):
            items = [tag("li", as_text(row), class_="run") for row in bad]
            summary = tag("summary", name_of(one, prepared), say("bad rows"), " ", tag("small", count(len(bad))))
            kept = as_text(one.summary.get("quarantine") or "")
            place = tag("p", say("quarantine", path=tag("code", kept)), class_="faint") if kept else ""
            told.append(tag("details", summary, tag("ul", *items), place))
        rest: dict[str, Any] = {name: value for name, value in one.summary.items() if name not in TOLD}
        if rest:
            pairs: list[list[Content]] = [[name, as_text(value)] for name, value in rest.items()]
            told.append(
                tag("details", tag("summary", name_of(one, prepared), say("also counted")), table(["", ""], pairs))
            )
    return told


def _list(one: Prepared, name: str) -> list[Any]:
    found = one.summary.get(name)
    return found if isinstance(found, list) else []


def _lost_by_fate(one: Prepared) -> Html:
    """The tokens that are lost with the rows of each fate."""
    found = one.summary.get("lost_targets")
    lost = [(fate, as_number(number)) for fate, number in found.items()] if isinstance(found, dict) else []
    parts = [joined(say_if_known("fate", fate), " ", count(number)) for fate, number in lost if number]
    return joined(" (", joined(*parts, by=", "), ")") if parts else joined()


def _sources(one: Prepared, among: tuple[Prepared, ...], record: Record) -> list[Html]:
    """How many documents came from each source, where that was counted; under its path, if the recipe names it."""
    counts = [as_number(number) or 0.0 for number in _list(one, "documents_by_source")]
    if not counts:
        return []
    given = record.setting("data.evaluate" if one.name == "evaluation" else "data.train")
    named = isinstance(given, list) and len(given) == len(counts)
    paths = [_path(source, at) for at, source in enumerate(given if named else counts, 1)]
    rows: list[list[Content]] = [[tag("code", as_text(path)), count(n)] for path, n in zip(paths, counts, strict=True)]
    summary = tag("summary", name_of(one, among), say("by source"), " ", tag("small", count(len(counts))))
    return [tag("details", summary, table(["", say("documents")], rows, figures=frozenset({1})))]


def _path(source: Any, at: int) -> Any:
    return source.get("path", at) if isinstance(source, dict) else at


def name_of(one: Prepared, among: tuple[Prepared, ...]) -> Content:
    """The name of prepared rows, where there are others."""
    return joined(tag("b", one.name), " ") if len(among) > 1 else ""
