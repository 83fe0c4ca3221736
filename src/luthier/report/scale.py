"""Where a value stands along an axis, and which values the axis names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

SPIKE = 30.0
"""A largest value this many times the median would flatten everything else on a linear axis."""


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from ``low`` to ``high``; ``ticks`` are values on it."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value stands, from 0 at the low end to 1 at the high one."""
        low, high, at = (math.log10(one) if self.log else one for one in (self.low, self.high, max(value, self.low)))
        return min(1.0, (at - low) / (high - low))

    def names(self) -> list[str]:
        """The ticks in words, all with the same number of decimals.

        >>> linear([0.0, 2.0]).names()
        ['0', '0.5', '1.0', '1.5', '2.0']
        """
        if self.log:
            return [_power(tick) for tick in self.ticks]
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else abs(self.high) or 1.0
        return [_tick(tick, step, max(abs(self.low), abs(self.high))) for tick in self.ticks]


def linear(values: Iterable[float], *, whole: bool = False, most: int = 5) -> Scale:
    """An axis around values that are all finite: from zero unless they lie far from it, to a round number.

    >>> linear([3.0, 97.0]).ticks
    (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)
    """
    known = list(values) or [0.0, 1.0]
    low, high = min(known), max(known)
    if low > 0 and low < 0.6 * high:
        low = 0.0
    if low == high:
        low, high = (0.0, high) if high > 0 else (low, low + 1.0)
    step = _round_step((high - low) / most)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(number * step, 12 - math.floor(math.log10(step))) for number in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)


def along(last: float) -> Scale:
    """An axis of steps from 0 to exactly the last one."""
    step = max(1.0, _round_step(max(1.0, last) / 6))
    return Scale(0.0, max(1.0, last), tuple(number * step for number in range(int(max(1.0, last) / step + 1e-9) + 1)))


def fitting(values: Iterable[float]) -> Scale:
    """A linear axis, or one of powers of ten when a few values tower above the others."""
    known = list(values)
    if known and min(known) > 0 and max(known) > SPIKE * median(known):
        first, last = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
        stride = max(1, math.ceil((last - first) / 6))
        ticks = tuple(10.0**power for power in range(first, last + 1, stride))
        return Scale(10.0**first, 10.0**last, ticks, log=True)
    return linear(known)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * 0.999)


def _tick(value: float, step: float, largest: float) -> str:
    if value == 0:
        return "0"
    if largest < 1e-3 or largest >= 1e7:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    if largest >= 1e4:
        return f"{value / 1000:,.{_decimals(step / 1000)}f}k"
    return f"{value:.{_decimals(step)}f}"


def _decimals(step: float) -> int:
    return next((digits for digits in range(12) if abs(round(step, digits) - step) < step * 1e-6), 12)


def _power(value: float) -> str:
    return f"{value:g}" if 1e-3 <= value < 1e4 else f"1e{round(math.log10(value))}"
