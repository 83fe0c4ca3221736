"""Documents fill packs as if they had been placed one after the other."""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.pack import Packs, best_fit, one_each


def contents(packs: Packs) -> list[list[int]]:
    return [packs[pack].tolist() for pack in range(len(packs))]


def rooms(packs: Packs, lengths: np.ndarray[tuple[int], np.dtype[np.int64]], capacity: int) -> list[int]:
    return sorted(capacity - int(lengths[packs[pack]].sum()) for pack in range(len(packs)))


def one_after_the_other(lengths: list[int], capacity: int) -> list[int]:
    """The room that best-fit decreasing leaves in each pack, sorted: the definition, word by word."""
    left: list[int] = []
    for length in sorted(lengths, reverse=True):
        at = bisect_left(left, length)
        insort(left, (left.pop(at) if at < len(left) else capacity) - length)
    return left


@given(st.integers(1, 60).flatmap(lambda cap: st.tuples(st.just(cap), st.lists(st.integers(1, cap), max_size=80))))
@settings(max_examples=200, deadline=None)
def test_groups_are_placed_as_single_documents_would_be(case: tuple[int, list[int]]) -> None:
    capacity, given_lengths = case
    lengths = np.array(given_lengths, np.int64)
    packs = best_fit(np.arange(len(lengths)), lengths, capacity)
    assert rooms(packs, lengths, capacity) == one_after_the_other(given_lengths, capacity)
    assert sorted(packs.documents.tolist()) == list(range(len(lengths)))
    assert all(contents(packs))


@pytest.mark.parametrize("capacity", [64, 257])
def test_many_documents_are_placed_as_single_ones_would_be(capacity: int) -> None:
    lengths = np.random.default_rng(0).integers(1, capacity + 1, 4000)
    packs = best_fit(np.random.default_rng(1).permutation(4000), lengths, capacity)
    assert rooms(packs, lengths, capacity) == one_after_the_other(lengths.tolist(), capacity)
    assert min(rooms(packs, lengths, capacity)) >= 0


def test_only_the_named_documents_are_packed() -> None:
    packs = best_fit(np.array([4, 1]), np.array([9, 3, 9, 9, 2]), 5)
    assert contents(packs) == [[1, 4]]


def test_equal_documents_go_in_the_order_that_was_given() -> None:
    packs = best_fit(np.array([3, 0, 2, 1]), np.array([2, 2, 2, 2]), 4)
    assert contents(packs) == [[3, 0], [2, 1]]
    order = np.random.default_rng(0).permutation(500)
    many = best_fit(order, np.random.default_rng(1).integers(1, 3, 500), 1000)
    lengths = np.random.default_rng(1).integers(1, 3, 500)
    assert many.documents.tolist() == sorted(order.tolist(), key=lambda d: -lengths[d])


def test_no_documents_make_no_packs() -> None:
    assert len(best_fit(np.arange(0), np.array([], np.int64), 8)) == 0


def test_lengths_like_alpacas_fill_nearly_all_room() -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(4.3, 0.7, 20_000).astype(np.int64), 12, 1024)
    packs = best_fit(np.arange(len(lengths)), lengths, 1024)
    assert lengths.sum() / (1024 * len(packs)) > 0.999


def test_packs_can_be_taken_in_another_order() -> None:
    packs = Packs(np.array([5, 3, 1, 0, 2, 4]), np.array([0, 2, 3, 6]))
    assert contents(packs.taken(np.array([2, 0, 1]))) == [[0, 2, 4], [5, 3], [1]]
    assert contents(packs.taken(np.array([1]))) == [[1]]


def test_each_document_can_have_a_pack_of_its_own() -> None:
    assert contents(one_each(np.array([2, 0, 1]))) == [[2], [0], [1]]
