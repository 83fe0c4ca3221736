"""Series of points made fit to be drawn: smoothed, thinned, with gaps where there is no number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby

Point = tuple[float, float]

MOST_POINTS = 700
"""More points than this cannot be told apart on a screen."""


def smoothed(points: Sequence[Point], *, geometric: bool = False) -> list[Point]:
    """The points' running mean, centred so that it does not lag; what is not finite stays so and counts for nothing.

    >>> smoothed([(1, 4.0), (2, math.nan), (3, 4.0)])
    [(1, 4.0), (2, nan), (3, 4.0)]
    """
    known = [value for _, value in points if math.isfinite(value)]
    reach = max(1, len(known) // 50)
    if geometric and min(known, default=0.0) > 0:
        logs = _means(_means([math.log(value) for value in known], reach), reach)
        means = iter([math.exp(value) for value in logs])
    else:
        means = iter(_means(_means(known, reach), reach))
    return [(at, next(means) if math.isfinite(value) else value) for at, value in points]


def _means(values: Sequence[float], reach: int) -> list[float]:
    """Means over ``reach`` neighbours to each side; at the steep beginning over no more than there are before."""
    sums = [0.0, *accumulate(values)]
    means = []
    for index in range(len(values)):
        first, last = index - min(reach, index), min(len(values), index + min(reach, index) + 1)
        means.append((sums[last] - sums[first]) / (last - first))
    return means


def pieces(points: Sequence[Point]) -> Iterator[list[Point]]:
    """The stretches between the values that are not finite."""
    for finite, group in groupby(points, key=lambda point: math.isfinite(point[1])):
        if finite:
            yield list(group)


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most about ``most`` points of a stretch, with each bucket's lowest and highest, so that no spike is lost.

    >>> thinned([(0, 0.0), (1, 9.0), (2, 1.0), (3, 2.0)], 2)
    [(0, 0.0), (1, 9.0)]
    """
    if len(points) <= most:
        return list(points)
    width = math.ceil(len(points) / max(1, most // 2))
    kept: list[Point] = []
    for start in range(0, len(points), width):
        bucket = points[start : start + width]
        ends = {min(bucket, key=lambda point: point[1]), max(bucket, key=lambda point: point[1])}
        kept.extend(sorted(ends))
    return kept


def spaced(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most ``most`` points at even distances, the last one among them."""
    stride = math.ceil(len(points) / most) or 1
    return list(points[::-1][::stride][::-1])


def gaps(points: Sequence[Point]) -> list[tuple[float, float, str]]:
    """First and last place of each stretch of values that are not finite, and what they are.

    >>> gaps([(1, 1.0), (2, math.nan), (3, math.inf), (4, 2.0), (5, math.inf)])
    [(2, 3, 'NaN'), (5, 5, '∞')]
    """
    stretches = (list(group) for finite, group in groupby(points, key=lambda p: math.isfinite(p[1])) if not finite)
    return [
        (stretch[0][0], stretch[-1][0], "NaN" if any(math.isnan(value) for _, value in stretch) else "∞")
        for stretch in stretches
    ]
