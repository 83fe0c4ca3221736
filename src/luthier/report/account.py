"""The whole record: every key that was read, the recipe, the environment; each folded away."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from luthier.report.figures import as_text, count
from luthier.report.history import History
from luthier.report.markup import Content, Html, joined, table, tag
from luthier.report.source import Record
from luthier.report.words import say, say_if_known

OUTCOMES = ("applied", "default", "inert", "replaced", "refused")


def account(record: Record, past: History) -> Html:
    """The section."""
    parts = (_keys(record), _recipe(record), _environment(past), _hashes(record, past))
    return tag("section", tag("h2", say("whole record")), *(part for part in parts if part))


def _keys(record: Record) -> Html | None:
    given = record.reading.get("accounts")
    keys: list[dict[str, Any]] = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    if not keys:
        return None
    counted = Counter(as_text(one.get("outcome", "")) for one in keys)
    order = sorted(counted, key=lambda name: OUTCOMES.index(name) if name in OUTCOMES else len(OUTCOMES))
    counts = joined(*(joined(_badge(name), " ", count(counted[name])) for name in order), by="  ")
    dialect = record.reading.get("dialect")
    words = [tag("small", say("dialect", dialect=tag("b", as_text(dialect))))] if dialect else []
    source = record.reading.get("source")
    if source:
        words.append(tag("small", tag("code", as_text(source))))
    summary = tag("summary", say("accounts"), " ", tag("small", count(len(keys))), " ", joined(*words, by=" "))
    head: list[Content] = [say(name) for name in ("key", "value", "place", "outcome", "target", "note")]
    return tag(
        "details", summary, tag("p", counts, class_="counts"), table(head, [_row(one) for one in keys], kind="record")
    )


def _row(one: dict[str, Any]) -> list[Content]:
    def text(name: str) -> str:
        return as_text(one.get(name, ""))

    value = tag("code", text("value")) if one.get("value") is not None else tag("code", "null", class_="faint")
    target = tag("code", text("target")) if text("target") else ""
    return [
        tag("code", text("key")),
        value,
        tag("span", text("place"), class_="faint"),
        _badge(text("outcome")),
        target,
        text("note"),
    ]


def _badge(name: str) -> Html:
    look = name if name in OUTCOMES else "inert"
    return tag("span", say_if_known("outcome", name), class_=f"badge {look}")


def _recipe(record: Record) -> Html | None:
    if not record.recipe_text.strip():
        return None
    return tag("details", tag("summary", say("recipe")), tag("pre", tag("code", record.recipe_text), tabindex=0))


def _environment(past: History) -> Html:
    rows: list[list[Content]] = [[say("device"), past.started.device]]
    rows.extend([tag("code", name), value] for name, value in _flat(past.started.environment))
    return tag("details", tag("summary", say("environment")), table(["", ""], rows, kind="record"))


def _hashes(record: Record, past: History) -> Html | None:
    """What tells whether two runs began and ended with the same: data, recipe, weights."""
    rows: list[list[Content]] = [
        [joined(say("hash tokens"), " ", one.name), tag("code", one.key)] for one in past.prepared if one.key
    ]
    if record.recipe_text.strip():
        digest = hashlib.sha256(record.recipe_text.encode()).hexdigest()
        rows.append([joined(say("recipe"), " (recipe.yaml)"), tag("code", digest)])
    if past.compared is not None and past.compared.before:
        rows.append([say("hash before"), tag("code", past.compared.before)])
        rows.append([say("hash after"), tag("code", past.compared.after)])
    if not rows:
        return None
    return tag("details", tag("summary", say("hashes")), table(["", ""], rows, kind="record"))


def _flat(values: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            pairs.extend(_flat(value, f"{before}{name}."))
        else:
            pairs.append((f"{before}{name}", as_text(value)))
    return pairs
