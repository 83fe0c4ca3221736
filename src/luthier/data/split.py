"""Which rows of a file a split such as ``train[:10%]`` means, as the datasets library counts them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from luthier.errors import DataError

_SLICE = re.compile(r"([\w.\-]+)(?:\[(-?\d+)?(%?):(-?\d+)?(%?)\])?(?:\((closest|pct1_dropremainder)\))?")


@dataclass(frozen=True, slots=True)
class Stretch:
    """The rows from ``start`` up to ``stop`` of a split; below zero they count from its end, None is an end itself."""

    start: int | None = None
    stop: int | None = None
    percent: bool = False
    by_whole_percents: bool = False
    """Whether every hundredth has as many rows as the others, and what is left over belongs to none."""

    @property
    def whole(self) -> bool:
        """Whether it is all rows."""
        return self.start in (None, 0) and self.stop is None

    @property
    def relative(self) -> bool:
        """Whether it takes the number of all rows to tell."""
        return self.percent or min(self.start or 0, self.stop or 0) < 0

    def bounds(self, count: int) -> tuple[int, int]:
        """First row and one past the last of ``count`` rows; percents go to the nearest row (half to even).

        >>> Stretch(10, 25, percent=True).bounds(50), Stretch(-3).bounds(10), Stretch(None, 7).bounds(5)
        ((5, 12), (7, 10), (0, 5))
        """
        ends = (0 if self.start is None else self._row(self.start, count), self.stop)
        begin, end = ends[0], count if ends[1] is None else self._row(ends[1], count)
        begin, end = (max(count + one, 0) if one < 0 else min(one, count) for one in (begin, end))
        return begin, max(begin, end)

    def _row(self, end: int, count: int) -> int:
        if not self.percent:
            return end
        return end * (count // 100) if self.by_whole_percents else round(end * count / 100)


def name_of(split: str) -> str:
    """The split's own name, the first one's where several are joined.

    >>> name_of("test[:10%]"), name_of("train")
    ('test', 'train')
    """
    return split.partition("+")[0].partition("[")[0].strip()


def stretches_of(split: str, place: str) -> list[Stretch]:
    """The stretches that a split names, in their order; several are joined by ``+``.

    Raises:
        DataError: it is not of that form; ``place`` is where the rows lie.
    """
    stretches: list[Stretch] = []
    for part in split.split("+"):
        found = _SLICE.fullmatch(part.strip())
        start, stop = (None if found is None or found[at] is None else int(found[at]) for at in (2, 4))
        percent = found is not None and "%" in (found[3], found[5])
        if found is None or (percent and max(abs(start or 0), abs(stop or 0)) > 100):
            reason = f"{split!r} names no rows of a split"
            raise DataError(reason, place=f"{place}: split", remedy="write train[:500] or train[10%:20%]")
        stretches.append(Stretch(start, stop, percent, by_whole_percents=found[6] == "pct1_dropremainder"))
    return stretches
