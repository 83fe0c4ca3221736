"""Rows that say what another one says, told by the hash of their ids."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from luthier.data.store import Batch, Digests, TokenStore


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
