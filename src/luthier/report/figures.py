"""Numbers as people read them; the same in every language."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from luthier.report.markup import Html, escaped, tag

NOTHING = "–"


def plain(value: float) -> str:
    """Four significant digits, without an exponent where it can be helped.

    >>> plain(2.30259), plain(0.00002), plain(float("nan"))
    ('2.303', '2e-5', 'NaN')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e6:
        short = f"{value:.4g}"
        return short if "e" not in short else f"{value:,.0f}"
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def figure(value: float) -> Html:
    """A number; one that is not finite is marked."""
    return escaped(plain(value)) if math.isfinite(value) else tag("span", plain(value), class_="bad")


def count(value: float) -> str:
    """A whole number with its thousands apart.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{value:,.0f}" if math.isfinite(value) else plain(value)


def short(value: float) -> str:
    """A large number in a word.

    >>> short(494_032_768), short(950)
    ('494M', '950')
    """
    for size, letter in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return plain(value)


def seconds(value: float) -> str:
    """A duration.

    >>> seconds(0.256), seconds(75), seconds(7384)
    ('0.26s', '1m 15s', '2h 3m')
    """
    if not math.isfinite(value):
        return plain(value)
    if value < 60:
        return f"{value:.2f}s" if value < 1 else f"{value:.1f}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}m {rest}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours < 48 else f"{hours // 24}d {hours % 24}h"


def size(value: float) -> str:
    """Bytes.

    >>> size(512), size(3 * 2**30)
    ('512 B', '3.00 GiB')
    """
    for unit, letter in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(value) >= unit:
            return f"{value / unit:.2f} {letter}"
    return f"{value:.0f} B"


def percent(share: float) -> str:
    """A share of 1; what is not quite all is never rounded to all.

    >>> percent(0.9731), percent(1.0), percent(0.99999), percent(0.00414), percent(84.4)
    ('97.3%', '100%', '>99.9%', '0.414%', '84×')
    """
    if not math.isfinite(share):
        return plain(share)
    if share >= 9.995:
        return f"{share:,.0f}×"
    return ">99.9%" if 0.9995 <= share < 1 else f"{share * 100:.3g}%"


def moment(at: float) -> str:
    """A point in time, in UTC, so that the page is the same wherever it is made."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def as_text(value: Any) -> str:
    """Any plain value on one line: text as it is, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def as_number(value: Any) -> float | None:
    """The value if it is a number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
