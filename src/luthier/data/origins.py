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

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Of each document [n] the number of its row, from 0; those that came from one row have one number.

        >>> Origins.of(["a:1", "a:2", "a:2", "b:#1", "a:2"]).rows.tolist()
        [0, 1, 1, 2, 1]
        """
        places, count = np.asarray(self.places), len(self)
        if not count:
            return np.zeros(0, np.int64)
        # What is all name cannot be told apart, and counts as a row of its own.
        whole = np.where(places[:, 1] == 0, np.arange(count) + 1, 0)
        begun = np.append(True, (places[1:] != places[:-1]).any(axis=1) | (whole[1:] > 0))
        firsts = np.flatnonzero(begun)
        keys = np.column_stack([places[firsts], whole[firsts]])
        if not _rise(keys):
            _, seen, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
            numbers = np.argsort(np.argsort(seen))[inverse.reshape(-1)]
        else:
            numbers = np.arange(len(firsts))
        return np.asarray(numbers[np.cumsum(begun) - 1], np.int64)

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))


def _rise(keys: npt.NDArray[np.int64]) -> bool:
    """Whether no key comes twice, as is plain where names and the numbers under each of them only rise."""
    names, numbers = keys[:, 0], np.abs(keys[:, 1]) + keys[:, 2]
    same = names[1:] == names[:-1]
    return bool(((names[1:] > names[:-1]) | (same & (numbers[1:] > numbers[:-1]))).all())


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
