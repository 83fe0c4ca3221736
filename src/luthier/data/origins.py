"""Where documents came from, held as numbers: ``file:line`` of millions of rows in sixteen bytes each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_NUMBERED = re.compile(r"(.*):(#?)([1-9][0-9]{0,17})", re.DOTALL)

Pairs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Origins:
    """The origins of documents [n]: ``places`` [n, 2] are an index into ``names`` and a line.

    A row without a line of its own (``#7``) has a negative number; 0 stands for an origin that is all name.
    """

    names: tuple[str, ...]
    places: Pairs

    @classmethod
    def of(cls, origins: Iterable[str]) -> Origins:
        """Those written out."""
        made = Places()
        places = made.of(origins)
        return cls(tuple(made.names), places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> str:
        name, number = self.names[int(self.places[index, 0])], int(self.places[index, 1])
        return f"{name}:{number}" if number > 0 else f"{name}:#{-number}" if number else name

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))


@dataclass(slots=True)
class Places:
    """Turns origins into numbers; keeps each name once."""

    names: list[str] = field(default_factory=list)
    _index: dict[str, int] = field(default_factory=dict)

    def of(self, origins: Iterable[str]) -> Pairs:
        """Index of the name and number of each [n, 2]."""
        pairs = [self._pair(origin) for origin in origins]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    def _pair(self, origin: str) -> tuple[int, int]:
        found = _NUMBERED.fullmatch(origin)
        name, number = (found[1], int(found[3]) * (-1 if found[2] else 1)) if found else (origin, 0)
        at = self._index.get(name)
        if at is None:
            at = self._index[name] = len(self.names)
            self.names.append(name)
        return at, number
