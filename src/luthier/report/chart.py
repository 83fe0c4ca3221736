"""A line chart as inline SVG: series in, markup out.

The plot keeps its height and takes whatever width there is: places along it are percentages, and only the lines
themselves are stretched. So text stays as large on a phone as on a desk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from luthier.report.markup import Html, joined, tag
from luthier.report.scale import Scale, along, fitting, linear
from luthier.report.series import Point, gaps, pieces, spaced, thinned
from luthier.report.words import say

WIDE = 1000
TOP = 14
UNDER = 24
MOST_BANDS = 200


@dataclass(frozen=True, slots=True)
class Line:
    """A series and how it looks: ``raw`` (thin), ``main`` or ``second``. ``value`` stands beside its name."""

    points: Sequence[Point]
    look: str
    name: Html
    value: str = ""
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Plane:
    """Where steps and values lie: steps as percentages of the width, values in pixels from the top."""

    across: Scale
    up: Scale
    height: int

    def x(self, at: float) -> str:
        """A step's place."""
        return f"{self.across.share(at) * 100:.3f}%"

    def y(self, value: float) -> float:
        """A value's place."""
        return round(TOP + (1 - self.up.share(value)) * (self.height - TOP), 1)


def chart(
    name: str,
    title: Html,
    lines: Sequence[Line],
    *,
    axis: Html,
    show: Callable[[float], str],
    notes: Sequence[Html] = (),
    rules: Sequence[float] = (),
    height: int = 150,
    spiky: bool = False,
) -> Html:
    """A figure: title and legend, plot, what is below it. ``rules`` are dashed lines across it, where a run restarted.

    Values that are not finite are marked by a band over the whole height; ``spiky`` allows an axis of powers of ten.
    """
    finite = [value for line in lines for _, value in line.points if math.isfinite(value)]
    last = max((at for line in lines for at, _ in line.points), default=1.0)
    plane = Plane(along(last), fitting(finite) if spiky else linear(finite), height)
    caption = tag(
        "figcaption",
        tag("h3", title, id=f"chart-{name}"),
        tag("span", *(_legend(line) for line in lines), class_="legend"),
    )
    plot = _plot(lines, plane, rules, show, label=f"chart-{name}")
    canvas = tag("div", plot, tag("div", class_="tip", hidden=True), class_="canvas")
    frame = tag("div", _names(plane), canvas, tag("p", axis, class_="axis"), class_="frame")
    told = [*notes, say("powers")] if plane.up.log else notes
    return tag("figure", caption, frame, *(tag("p", note, class_="note") for note in told), class_="chart")


def _legend(line: Line) -> Html:
    name = joined(tag("i", class_=f"swatch {line.look}"), tag("span", line.name, class_="name"))
    return tag("span", name, *((" ", tag("b", line.value)) if line.value else ()), class_="key")


def _names(plane: Plane) -> Html:
    """The names of the values, in a column that does not stretch."""
    named = (
        tag("text", word, x=46, y=plane.y(tick) + 4, text_anchor="end")
        for tick, word in zip(plane.up.ticks, plane.up.names(), strict=True)
    )
    return tag("svg", *named, class_="scale", width=52, height=plane.height + UNDER, aria_hidden="true")


def _plot(
    lines: Sequence[Line], plane: Plane, rules: Sequence[float], show: Callable[[float], str], label: str
) -> Html:
    height, across = plane.height, plane.across
    grid = (_level(plane.y(tick), first=not index) for index, tick in enumerate(plane.up.ticks))
    steps = (
        tag("text", word, x=plane.x(tick), y=height + 18, text_anchor="middle")
        for tick, word in zip(across.ticks, across.names(), strict=True)
    )
    dashed = (_upright(plane, at, "rule", f"↻ {at:.0f}") for at in rules)
    drawn = (_path(line, plane, show) for line in lines)
    box = f"0 0 {WIDE} {height}"
    inner = tag("svg", *drawn, width="100%", height=height, viewBox=box, preserveAspectRatio="none", class_="lines")
    dots = (_dot(line, point, plane, show) for line in lines if line.dots for point in line.points)
    cursor = tag("line", class_="cursor", x1="0", x2="0", y1=TOP, y2=height, visibility="hidden")
    parts = (*grid, *steps, *dashed, *_bands(lines, plane), inner, *dots, cursor)
    words = {"class": "plot", "role": "img", "aria-labelledby": label, "data-last": f"{across.high:.0f}"}
    return tag("svg", *parts, width="100%", height=height + UNDER, **words)


def _path(line: Line, plane: Plane, show: Callable[[float], str]) -> Html:
    def stretch(piece: list[Point]) -> str:
        places = (f"{plane.across.share(at) * WIDE:.1f} {plane.y(value)}" for at, value in thinned(piece))
        return "M" + "L".join(places) + ("h0" if len(piece) == 1 else "")

    told = spaced(line.points)
    return tag(
        "path",
        d=" ".join(stretch(piece) for piece in pieces(line.points)),
        class_=line.look,
        data_x=" ".join(f"{at:.0f}" for at, _ in told),
        data_v=" ".join(show(value) for _, value in told),
    )


def _dot(line: Line, point: Point, plane: Plane, show: Callable[[float], str]) -> Html:
    at, value = point
    if not math.isfinite(value):
        return Html()
    return tag(
        "circle", tag("title", f"{at:.0f}: {show(value)}"), cx=plane.x(at), cy=plane.y(value), r=3, class_=line.look
    )


def _level(y: float, *, first: bool) -> Html:
    return tag("line", x1="0", x2="100%", y1=y, y2=y, class_="base" if first else "grid")


def _upright(plane: Plane, at: float, look: str, title: str) -> Html:
    x = plane.x(at)
    return tag("line", tag("title", title), x1=x, x2=x, y1=TOP, y2=plane.height, class_=look)


def _bands(lines: Sequence[Line], plane: Plane) -> list[Html]:
    """Where there is no number: a line, or a block over several steps, named as long as the names do not collide."""
    drawn: list[Html] = []
    named = -1.0
    for first, last, word in sorted({gap for line in lines for gap in gaps(line.points)})[:MOST_BANDS]:
        if first == last:
            drawn.append(_upright(plane, first, "band", f"{word} · {first:.0f}"))
        else:
            width = f"{(plane.across.share(last) - plane.across.share(first)) * 100:.3f}%"
            words = {"x": plane.x(first), "width": width, "class": "band"}
            title = tag("title", f"{word} · {first:.0f}–{last:.0f}")
            drawn.append(tag("rect", title, y=TOP, height=plane.height - TOP, **words))
        middle = (first + last) / 2
        if plane.across.share(middle) - named > (0.1 if plane.height > 200 else 0.2):
            named = plane.across.share(middle)
            drawn.append(tag("text", word, x=plane.x(middle), y=TOP - 4, text_anchor="middle", class_="bad"))
    return drawn
