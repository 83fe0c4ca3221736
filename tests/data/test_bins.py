"""Documents fill packs as if they had been placed one after the other."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data import bins
from luthier.data.bins import best_fit, first_fit
from luthier.data.pack import Ints, Packs

BOTH = pytest.mark.parametrize("fill", [best_fit, first_fit])
Fill = Callable[[Ints, Ints, int], Packs]


def contents(packs: Packs) -> list[list[int]]:
    return [packs[pack].tolist() for pack in range(len(packs))]


def rooms(packs: Packs, lengths: Ints, capacity: int) -> list[int]:
    return sorted(capacity - int(lengths[packs[pack]].sum()) for pack in range(len(packs)))


def best_one_after_the_other(lengths: list[int], capacity: int) -> list[int]:
    """The room that best-fit decreasing leaves in each pack, sorted: the definition, word by word."""
    left: list[int] = []
    for length in sorted(lengths, reverse=True):
        at = bisect_left(left, length)
        insort(left, (left.pop(at) if at < len(left) else capacity) - length)
    return left


def first_one_after_the_other(documents: list[int], lengths: list[int], capacity: int) -> list[list[int]]:
    """The packs of first-fit decreasing: the definition, word by word."""
    packs: list[list[int]] = []
    left: list[int] = []
    for document in sorted(documents, key=lambda one: -lengths[one]):
        at = next((at for at, room in enumerate(left) if room >= lengths[document]), len(left))
        if at == len(left):
            left.append(capacity)
            packs.append([])
        left[at] -= lengths[document]
        packs[at].append(document)
    return packs


CASES = st.integers(1, 60).flatmap(
    lambda capacity: st.tuples(st.just(capacity), st.lists(st.integers(1, capacity), max_size=80))
)


@given(CASES)
@settings(max_examples=200, deadline=None)
def test_best_fit_places_groups_as_single_documents_would_be(case: tuple[int, list[int]]) -> None:
    capacity, given_lengths = case
    lengths = np.array(given_lengths, np.int64)
    packs = best_fit(np.arange(len(lengths)), lengths, capacity)
    assert rooms(packs, lengths, capacity) == best_one_after_the_other(given_lengths, capacity)
    assert sorted(packs.documents.tolist()) == list(range(len(lengths)))
    assert all(contents(packs))


@given(CASES, st.permutations(range(80)))
@settings(max_examples=200, deadline=None)
def test_first_fit_places_groups_as_single_documents_would_be(case: tuple[int, list[int]], order: list[int]) -> None:
    capacity, given_lengths = case
    documents = [one for one in order if one < len(given_lengths)]
    packs = first_fit(np.array(documents, np.int64), np.array(given_lengths, np.int64), capacity)
    assert contents(packs) == first_one_after_the_other(documents, given_lengths, capacity)


@pytest.mark.parametrize("capacity", [64, 257])
@pytest.mark.parametrize("longest", [0.1, 0.6, 1.0])
def test_many_documents_are_placed_as_single_ones_would_be(
    monkeypatch: pytest.MonkeyPatch, capacity: int, longest: float
) -> None:
    monkeypatch.setattr(bins, "BLOCK", 8)
    lengths = np.random.default_rng(0).integers(1, round(longest * capacity) + 1, 3000)
    order = np.random.default_rng(1).permutation(3000)
    best = best_fit(order, lengths, capacity)
    assert rooms(best, lengths, capacity) == best_one_after_the_other(lengths.tolist(), capacity)
    assert min(rooms(best, lengths, capacity)) >= 0
    first = first_fit(order, lengths, capacity)
    assert contents(first) == first_one_after_the_other(order.tolist(), lengths.tolist(), capacity)


def test_the_least_room_or_the_earliest_pack() -> None:
    lengths = np.array([7, 5, 4, 1])
    assert contents(best_fit(np.arange(4), lengths, 10)) == [[0], [1, 2, 3]]
    assert contents(first_fit(np.arange(4), lengths, 10)) == [[0, 3], [1, 2]]


@BOTH
def test_only_the_named_documents_are_packed(fill: Fill) -> None:
    assert contents(fill(np.array([4, 1]), np.array([9, 3, 9, 9, 2]), 5)) == [[1, 4]]


@BOTH
@pytest.mark.parametrize("capacity", [1000, 100_000])
def test_equal_documents_go_in_the_order_that_was_given(fill: Fill, capacity: int) -> None:
    assert contents(fill(np.array([3, 0, 2, 1]), np.array([2, 2, 2, 2]), 4)) == [[3, 0], [2, 1]]
    order = np.random.default_rng(0).permutation(500)
    lengths = np.random.default_rng(1).integers(1, 3, 500)
    many = fill(order, lengths, capacity)
    assert many.documents.tolist() == sorted(order.tolist(), key=lambda d: -lengths[d])


@BOTH
def test_no_documents_make_no_packs(fill: Fill) -> None:
    assert len(fill(np.arange(0), np.array([], np.int64), 8)) == 0


@BOTH
def test_lengths_like_alpacas_fill_nearly_all_room(fill: Fill) -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(4.3, 0.7, 20_000).astype(np.int64), 12, 1024)
    packs = fill(np.arange(len(lengths)), lengths, 1024)
    assert lengths.sum() / (1024 * len(packs)) > 0.999
