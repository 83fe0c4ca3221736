"""Rows that say what another one says: exactly, by the hash of their ids, or nearly, by the words they share."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from luthier.data.example import Example
from luthier.data.store import Batch, Digests, TokenStore

HASHES = 64
SHINGLE = 3

Signatures = npt.NDArray[np.uint32]

_WORD = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff]|[^\W\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff]+")
"""A word; in writing without spaces, a character."""
_FACTORS = np.random.default_rng(0x5EED).integers(1, 2**63, size=(2, HASHES), dtype=np.uint64) * np.uint64(
    2
) + np.uint64(1)


def digests_of(batch: Batch) -> Digests:
    """Two halves of a hash of each document's ids [n, 2]; none is zero."""
    bounds = (batch.bounds * batch.ids.itemsize).tolist()
    data = np.ascontiguousarray(batch.ids).data.cast("B") if len(batch.ids) else b""
    hashes = (hashlib.blake2b(data[start:stop], digest_size=16).digest() for start, stop in pairwise(bounds))
    return np.frombuffer(b"".join(hashes), np.uint64).reshape(-1, 2)


class Seen:
    """A growing set of digests: sixteen bytes each, but for the newest."""

    NEWEST = 1 << 16

    def __init__(self) -> None:
        self._sorted = np.zeros((0, 2), np.uint64)
        self._newest: set[bytes] = set()

    def add(self, digests: Digests) -> npt.NDArray[np.bool_]:
        """Whether each one was there already [n], earlier ones of the same call included; now all of them are."""
        found = _among(digests, self._sorted)
        for index in np.flatnonzero(~found).tolist():
            key = digests[index].tobytes()
            found[index] = key in self._newest
            self._newest.add(key)
        if len(self._newest) >= self.NEWEST:
            newest = np.frombuffer(b"".join(self._newest), np.uint64).reshape(-1, 2)
            self._sorted = _in_order(np.concatenate([self._sorted, newest]))
            self._newest.clear()
        return found


def _in_order(digests: Digests) -> Digests:
    return digests[np.lexsort((digests[:, 1], digests[:, 0]))]


def _among(digests: Digests, ordered: Digests) -> npt.NDArray[np.bool_]:
    """Whether each digest [n, 2] is one of the ordered ones; of those that share a first half, one is looked at."""
    if not len(ordered):
        return np.zeros(len(digests), np.bool_)
    at = np.minimum(np.searchsorted(ordered[:, 0], digests[:, 0]), len(ordered) - 1)
    return np.asarray((ordered[at] == digests).all(axis=1))


def copies(
    store: TokenStore, documents: npt.NDArray[Any], of: TokenStore, among: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    """Whether each of some documents [n] of a store is one ``among`` the documents of another, token by token."""
    return _among(np.asarray(store.digests[documents]), _in_order(np.asarray(of.digests[among])))


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


class Near:
    """Finds signatures like earlier ones: candidates share a band of hashes, and are then compared whole.

    Rows of Jaccard index s share one of the bands of width w with chance 1 - (1 - s^w)^(HASHES / w): 0.93 at 0.65 and
    more than 0.999 at 0.8 with w = 4, 0.98 at 0.35 with w = 2.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._width = 4 if threshold >= 0.65 else 2
        self._bands: dict[bytes, int] = {}
        self._kept: list[bytes] = []

    def add(self, signature: Signatures) -> bool:
        """Whether an earlier signature is as like as the threshold asks; if none is, this one is kept."""
        bands = range(0, HASHES, self._width)
        keys = [bytes([start]) + signature[start : start + self._width].tobytes() for start in bands]
        for candidate in {self._bands[key] for key in keys if key in self._bands}:
            earlier = np.frombuffer(self._kept[candidate], np.uint32)
            if float((earlier == signature).mean()) >= self._threshold:
                return True
        for key in keys:
            self._bands.setdefault(key, len(self._kept))
        self._kept.append(signature.tobytes())
        return False
