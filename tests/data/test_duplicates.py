"""Rows that were there before are found, exactly or nearly, and no others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.duplicates import Near, Seen, copies, digests_of, signatures_of
from luthier.data.example import Example, Message, Ready
from luthier.data.store import Batch, TokenStore, collect
from luthier.data.tokens import Tokens
from tests.data.made import talk


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


WORDS = [f"word{n}" for n in range(200)]


def near(threshold: float, *texts: str) -> list[bool]:
    index = Near(threshold)
    signatures = signatures_of([talk(("user", text), ("assistant", "Yes.")) for text in texts])
    return [index.add(one) for one in signatures]


def test_rows_that_differ_in_a_word_are_nearly_the_same() -> None:
    changed = [*WORDS[:100], "other", *WORDS[101:]]
    text = " ".join(WORDS)
    assert near(0.8, text, " ".join(changed), " ".join(reversed(WORDS)), text.upper()) == [False, True, False, True]


def test_the_threshold_is_the_share_of_triples() -> None:
    half = " ".join([*WORDS[:130], *(f"x{n}" for n in range(70))])  # about 0.48 of all triples are shared
    assert near(0.35, " ".join(WORDS), half) == [False, True]
    assert near(0.65, " ".join(WORDS), half) == [False, False]


def test_a_shared_system_message_makes_nothing_alike() -> None:
    system = ("system", " ".join(WORDS))
    rows = [talk(system, ("user", "Where is the old mill?")), talk(system, ("user", "Who sells grey eggs here?"))]
    index = Near(0.5)
    assert [index.add(one) for one in signatures_of(rows)] == [False, False]


def test_writing_without_spaces_and_ready_rows_are_compared_too() -> None:
    assert near(0.7, "磨坊在河边的小路尽头靠近老桥", "磨坊在河边的小路尽头靠近老树", "今天的天气很好我们去散步吧") == [
        False,
        True,
        False,
    ]
    rows = [
        Example((Message("text", ""),), "d:1", ready=Ready(tuple(range(n, n + 50)), (True,) * 50)) for n in (0, 1, 500)
    ]
    index = Near(0.8)
    assert [index.add(one) for one in signatures_of(rows)] == [False, True, False]


@pytest.mark.parametrize("text", ["", "one", "one two"])
def test_short_rows_have_a_signature(text: str) -> None:
    assert signatures_of([Example((Message("text", text),), "d:1")]).shape == (1, 64)
