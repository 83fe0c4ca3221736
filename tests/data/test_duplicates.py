"""Rows that were there before are found, and no others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.duplicates import Seen, copies, digests_of
from luthier.data.store import Batch, TokenStore, collect
from luthier.data.tokens import Tokens


def batch(documents: Sequence[Sequence[int]]) -> Batch:
    return Batch.of([Tokens(np.array(ids, np.int32), np.ones(len(ids), np.bool_), "d:1") for ids in documents])


@given(st.lists(st.lists(st.integers(0, 2), max_size=3), max_size=30), st.integers(1, 5))
def test_digests_tell_documents_apart_whatever_the_batches(documents: list[list[int]], size: int) -> None:
    seen, before = Seen(), set[tuple[int, ...]]()
    seen.NEWEST = 4  # type: ignore[misc]
    for start in range(0, len(documents), size):
        part = documents[start : start + size]
        expected = []
        for ids in part:
            expected.append(tuple(ids) in before)
            before.add(tuple(ids))
        assert seen.add(digests_of(batch(part))).tolist() == expected


def test_copies_in_another_store_are_found() -> None:
    def store(documents: Sequence[Sequence[int]]) -> TokenStore:
        flat = batch(documents)
        whole = collect(flat.documents(), {})
        return TokenStore(
            whole.ids, whole.trained, whole.offsets, whole.targets, digests_of(flat), whole.origins, whole.summary
        )

    first, other = store([[1, 2], [3], [4, 5]]), store([[5, 4], [3], [1, 2], [9]])
    assert copies(other, np.arange(4), first, np.arange(3)).tolist() == [False, True, True, False]
    assert copies(other, np.array([2, 3]), first, np.array([1, 2])).tolist() == [False, False]
    assert copies(other, np.arange(4), first, np.arange(0)).tolist() == [False] * 4
