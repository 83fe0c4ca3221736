"""Sources come as often as their weights say, and in turn where asked."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.mix import drawn, in_turn, varies

SOURCES = np.array([0] * 10 + [1] * 4 + [2] * 7)


def counted(weights: tuple[float, ...], epoch: int, seed: int = 3) -> Counter[int]:
    return Counter(d for one in drawn(SOURCES, weights, seed, epoch) for d in one.tolist())


def test_whole_weights_are_whole_rounds() -> None:
    rounds = [one.tolist() for one in drawn(SOURCES, (1.0, 3.0, 2.0), 0, 5)]
    assert rounds == [list(range(21)), list(range(10, 21)), list(range(10, 14))]


def test_a_half_is_another_half_each_epoch_until_all_were_seen() -> None:
    first, second, third = (counted((1.0, 0.5, 1.0), epoch) for epoch in range(3))
    halves = [{d for d in one if 10 <= d < 14} for one in (first, second, third)]
    assert len(halves[0]) == len(halves[1]) == 2 and halves[0] | halves[1] == {10, 11, 12, 13}
    assert halves[2] == halves[0]
    others = {frozenset(d for d in counted((1.0, 0.5, 1.0), 0, seed) if 10 <= d < 14) for seed in range(12)}
    assert len(others) > 1


def test_a_weight_above_one_is_once_and_a_part() -> None:
    counts = counted((1.3, 1.0, 1.0), 4)
    assert Counter(counts[d] for d in range(10)) == {1: 7, 2: 3}
    over_ten = [sum(counted((1.3, 1.0, 1.0), epoch)[d] for epoch in range(10)) for d in range(10)]
    assert over_ten == [13] * 10


def test_a_source_with_documents_always_has_one() -> None:
    assert counted((1.0, 0.01, 1.0), 0).total() == 18
    assert [one.tolist() for one in drawn(np.array([1, 1]), (0.5, 1.0), 0, 0)] == [[0, 1]]


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=30),
    st.tuples(*[st.floats(0.05, 3.5)] * 3),
    st.integers(0, 40),
)
@settings(max_examples=150, deadline=None)
def test_every_epoch_has_as_many_documents_and_no_round_has_one_twice(
    found: list[int], weights: tuple[float, ...], epoch: int
) -> None:
    sources = np.array(found)
    rounds = drawn(sources, weights, 7, epoch)
    assert all(len(set(one.tolist())) == len(one) for one in rounds)
    assert all((np.diff(one) > 0).all() for one in rounds)
    sizes = np.bincount(sources[np.concatenate(rounds)], minlength=3)
    first = np.bincount(sources[np.concatenate(drawn(sources, weights, 7, 0))], minlength=3)
    assert sizes.tolist() == first.tolist()
    for source, weight in enumerate(weights):
        assert abs(sizes[source] - weight * found.count(source)) < 1
    many = Counter(d for e in range(epoch) for one in drawn(sources, weights, 7, e) for d in one.tolist())
    for source in range(3):
        seen = [many[d] for d in np.flatnonzero(sources == source).tolist()]
        assert not seen or max(seen) - min(seen) <= 1


def test_in_turn_each_source_is_spread_over_all() -> None:
    sources = np.random.default_rng(0).permutation(SOURCES)
    order = in_turn(sources)
    assert sorted(order.tolist()) == list(range(21))
    for source, count in enumerate((10, 4, 7)):
        places = np.flatnonzero(sources[order] == source)
        assert np.ptp(np.diff(places)) <= 2 and places[0] <= 21 / count
        assert (np.diff(order[places]) > 0).all()


def test_in_turn_the_only_document_of_a_source_comes_in_the_middle() -> None:
    assert in_turn(np.array([0, 0, 0, 0, 1])).tolist() == [0, 1, 4, 2, 3]


@pytest.mark.parametrize(("weights", "expected"), [((), False), ((1.0, 2.0), False), ((1.0, 0.5), True)])
def test_parts_of_a_source_make_epochs_vary(weights: tuple[float, ...], expected: bool) -> None:
    assert varies(weights) is expected
