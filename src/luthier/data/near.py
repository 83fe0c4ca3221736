"""Rows that say nearly what an earlier one says, told by the words they share."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from luthier.data.example import Example

HASHES = 64
SHINGLE = 3

Signatures = npt.NDArray[np.uint32]

_WORD = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff]|[^\W\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff]+")
"""A word; in writing without spaces, a character."""
_FACTORS = np.random.default_rng(0x5EED).integers(1, 2**63, size=(2, HASHES), dtype=np.uint64) * np.uint64(
    2
) + np.uint64(1)


def signatures_of(examples: Sequence[Example]) -> Signatures:
    """MinHash signatures [n, HASHES] of the examples' words, three at a time, system messages left out.

    Two signatures agree in a share of their places that estimates the Jaccard index of the two sets of word triples
    (Broder 1997).
    """
    return np.stack([_signature(example) for example in examples]) if examples else np.zeros((0, HASHES), np.uint32)


def _signature(example: Example) -> Signatures:
    if example.ready is not None:
        words = list(example.ready.ids)
    else:
        texts = [message.content for message in example.messages if message.role != "system"]
        text = "\n".join([*texts, *(piece.text for piece in example.pieces)]).lower()
        words = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in _WORD.findall(text)]
    words += [0] * (SHINGLE - len(words))
    hashed = np.array(words, np.uint64)
    triples = hashed[: len(hashed) - 2] * np.uint64(0x9E3779B97F4A7C15)
    triples = (triples ^ hashed[1:-1]) * np.uint64(0xC2B2AE3D27D4EB4F) ^ hashed[2:]
    triples = np.unique(triples)
    lowest = np.full(HASHES, np.iinfo(np.uint32).max, np.uint32)
    for start in range(0, len(triples), 4096):
        mixed = triples[start : start + 4096, None] * _FACTORS[0] + _FACTORS[1]
        lowest = np.minimum(lowest, (mixed >> np.uint64(32)).min(axis=0).astype(np.uint32))
    return lowest


@dataclass(frozen=True, slots=True)
class _Table:
    """Of one band, hashes [n] in order and the kept row that each belongs to; no hash twice."""

    hashes: npt.NDArray[np.uint32]
    rows: npt.NDArray[np.uint32]

    def find(self, hashes: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
        """The row of each hash [n], or -1."""
        if not len(self.hashes):
            return np.full(len(hashes), -1)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.where(self.hashes[at] == hashes, self.rows[at].astype(np.int64), -1)

    def with_(self, other: _Table) -> _Table:
        hashes = np.concatenate([self.hashes, other.hashes])
        order = np.argsort(hashes, kind="stable")
        return _Table(hashes[order], np.concatenate([self.rows, other.rows])[order])


class Near:
    """Finds signatures like earlier ones: candidates share a band of hashes, and are then compared whole.

    Rows of Jaccard index s share one of the bands of width w with chance 1 - (1 - s^w)^(HASHES / w): 0.93 at 0.65 and
    more than 0.999 at 0.8 with w = 4, 0.98 at 0.35 with w = 2.

    A kept row takes HASHES bytes, the lowest of each hash (Li and König 2010, "b-bit minwise hashing": two that differ
    agree in it once in 256), and eight for each band: 192 with w = 4. Bands are kept in order, in tables each at least
    twice as large as the next, so that each is merged a logarithmic number of times; the newest ones in a dictionary.
    """

    NEWEST = 1 << 17
    """Hashes of bands in that dictionary, about."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._width = 4 if threshold >= 0.65 else 2
        self._bands = HASHES // self._width
        self._tables: list[list[_Table]] = []
        self._newest: dict[int, int] = {}
        self._kept = bytearray()

    def add(self, signatures: Signatures) -> npt.NDArray[np.bool_]:
        """Whether an earlier one, of this call or before, is as like each [n] as asked; the others are kept."""
        mixed = signatures.reshape(-1, self._bands, self._width) * _FACTORS[0, : self._width]
        hashes = (mixed.sum(axis=2, dtype=np.uint64) >> np.uint64(32)).astype(np.uint32)
        earlier = np.full(hashes.shape, -1)
        for tables in self._tables:
            for band, table in enumerate(tables):
                earlier[:, band] = np.maximum(earlier[:, band], table.find(hashes[:, band]))
        keys = hashes + (np.arange(self._bands, dtype=np.uint64) << np.uint64(32))
        found = [
            self._add(*one) for one in zip(signatures.astype(np.uint8), keys.tolist(), earlier.tolist(), strict=True)
        ]
        if len(self._newest) >= self.NEWEST:
            self._put_away()
        return np.array(found, np.bool_)

    def _add(self, lowest: npt.NDArray[np.uint8], keys: list[int], earlier: list[int]) -> bool:
        newest = self._newest
        candidates = {newest[key] for key in keys if key in newest}.union(earlier) - {-1}
        if any(self._alike(row, lowest) for row in candidates):
            return True
        number = len(self._kept) // HASHES
        for key, row in zip(keys, earlier, strict=True):
            if row < 0:
                newest.setdefault(key, number)
        self._kept += lowest.tobytes()
        return False

    def _alike(self, row: int, lowest: npt.NDArray[np.uint8]) -> bool:
        kept = np.frombuffer(self._kept, np.uint8, HASHES, row * HASHES)
        return float((kept == lowest).mean()) >= self._threshold

    def _put_away(self) -> None:
        """The newest hashes into a table of each band, merged with those that are not much larger."""
        keys = np.fromiter(self._newest, np.uint64, len(self._newest))
        rows = np.fromiter(self._newest.values(), np.uint32, len(self._newest))
        self._newest.clear()
        order = np.argsort(keys, kind="stable")
        keys, rows = keys[order], rows[order]
        ends = np.searchsorted(keys, np.arange(1, self._bands, dtype=np.uint64) << np.uint64(32))
        parts = zip(np.split(keys.astype(np.uint32), ends), np.split(rows, ends), strict=True)
        tables = [_Table(hashes.copy(), rows.copy()) for hashes, rows in parts]
        while self._tables and _size(self._tables[-1]) < 2 * _size(tables):
            larger = self._tables.pop()
            tables = [larger.pop(0).with_(table) for table in tables]
        self._tables.append(tables)


def _size(tables: list[_Table]) -> int:
    return sum(len(table.hashes) for table in tables)
