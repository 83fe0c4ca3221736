"""How long the documents are: bars, one for each stretch of lengths."""

from __future__ import annotations

from typing import Any

from luthier.record.events import Prepared
from luthier.report.figures import as_number, count
from luthier.report.markup import Content, Html, tag
from luthier.report.words import say

HIGH = 96
"""Pixels of the highest bar."""


def lengths(one: Prepared, name: Content) -> Html | None:
    """A figure, if the lengths were counted; a bar's words name its stretch and count."""
    told: dict[str, Any] = found if isinstance(found := one.summary.get("lengths"), dict) else {}
    width, given = as_number(told.get("width")), told.get("counts")
    counts = [as_number(number) or 0.0 for number in given] if isinstance(given, list) else []
    most = max(counts, default=0)
    if not width or not most:
        return None
    across = 100 / len(counts)
    bars = [_bar(at, number, most, across, width) for at, number in enumerate(counts) if number]
    figures = {key: count(as_number(told.get(key)) or 0) for key in ("shortest", "median", "longest")}
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", name, say("lengths")),
            tag("span", say("length figures", **figures), class_="legend"),
        ),
        tag("svg", *bars, height=HIGH, role="img"),
        tag("p", tag("span", "1"), tag("span", count(width * len(counts))), class_="ends"),
        class_="lengths",
    )


def _bar(at: int, number: float, most: float, across: float, width: float) -> Html:
    high = max(1.0, number / most * HIGH)
    words = f"{count(at * width + 1)}–{count((at + 1) * width)}: {count(number)}"
    place = {"x": f"{at * across:.3f}%", "y": f"{HIGH - high:.1f}"}
    return tag("rect", tag("title", words), **place, width=f"{across * 0.92:.3f}%", height=f"{high:.1f}")
