from __future__ import annotations

import math

import pytest

from luthier.report.chart import Line, chart
from luthier.report.figures import plain
from luthier.report.markup import escaped
from luthier.report.scale import along, fitting, linear
from luthier.report.series import Point, smoothed, spaced, thinned
from tests.report.reader import Page


def drawn(points: list[Point], *, spiky: bool = False) -> Page:
    line = Line(points, "main", escaped("loss"), dots=True)
    return Page(str(chart("one", escaped("Loss"), [line], axis=escaped("step"), show=plain, spiky=spiky)))


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.1, 2.3], (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)),
        ([98.2, 99.1], (98.2, 98.4, 98.6, 98.8, 99.0, 99.2)),
        ([0.0, 2e-4], (0.0, 5e-5, 1e-4, 1.5e-4, 2e-4)),
        ([-3.0, 3.0], (-4.0, -2.0, 0.0, 2.0, 4.0)),
    ],
)
def test_axes_name_round_values_around_the_data(values: list[float], ticks: tuple[float, ...]) -> None:
    axis = linear(values)
    assert axis.ticks == pytest.approx(ticks)
    assert axis.low <= min(values)
    assert max(values) <= axis.high


@pytest.mark.parametrize(
    "values", [[], [0.0], [5.0], [-2.0], [1e-30], [1e30], [3.0, 3.0], [1.0, math.nextafter(1.0, 2.0)]]
)
def test_axes_of_little_or_extreme_data(values: list[float]) -> None:
    for axis in (linear(values), fitting(values)):
        assert axis.low < axis.high
        assert len(axis.names()) == len(axis.ticks)
        assert all(0 <= axis.share(value) <= 1 for value in values)


def test_names_are_distinct() -> None:
    for values in ([0.0, 2e-4], [0.0, 12_500.0], [98.2, 99.1], [0.0, 3e9]):
        names = linear(values).names()
        assert len(set(names)) == len(names)


def test_the_axis_of_steps_ends_at_the_last() -> None:
    assert along(240).high == 240
    assert along(240).ticks == (0, 50, 100, 150, 200)
    assert along(1).ticks == (0, 1)


def test_a_spike_makes_an_axis_of_powers() -> None:
    assert fitting([1.0] * 20 + [5000.0]).log
    assert not fitting([1.0] * 20 + [5.0]).log
    assert drawn([(step, 5000.0 if step == 7 else 1.0) for step in range(1, 20)], spiky=True).those("text")


def test_a_line_breaks_where_there_is_no_number() -> None:
    page = drawn([(1, 1.0), (2, math.nan), (3, 2.0), (4, 3.0)])
    (path,) = page.those("path")
    assert (path.attributes["d"] or "").count("M") == 2
    assert path.attributes["data-v"] == "1 NaN 2 3"
    assert len(page.those("circle")) == 3
    assert [one.text for one in page.those("line", "band")] == ["NaN · 2"]


@pytest.mark.parametrize("points", [[], [(1, 1.0)], [(1, math.nan)], [(0, 0.0), (1, 0.0)]])
def test_small_charts(points: list[Point]) -> None:
    assert len(drawn(points).those("svg")) == 3


def test_thinning_keeps_every_spike() -> None:
    points = [(float(step), 1.0) for step in range(10_000)]
    points[7_001] = (7_001.0, 50.0)
    points[7_003] = (7_003.0, -50.0)
    kept = thinned(points)
    assert len(kept) <= 702
    assert {(7_001.0, 50.0), (7_003.0, -50.0)} <= set(kept)
    assert kept == sorted(kept)


def test_spacing_keeps_the_last() -> None:
    points = [(float(step), 0.0) for step in range(1_000)]
    assert spaced(points, 100)[-1] == points[-1]
    assert len(spaced(points, 100)) <= 100
    assert spaced([]) == []


def test_smoothing_keeps_straight_lines_straight_and_places_where_they_are() -> None:
    points = [(float(step), 2.0) for step in range(500)]
    assert smoothed(points) == points
    assert [at for at, _ in smoothed(points, geometric=True)] == [at for at, _ in points]
    assert [value for _, value in smoothed(points, geometric=True)] == pytest.approx([2.0] * 500)
