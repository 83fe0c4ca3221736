"""What is said of packs: how full they are, and that no packing could need fewer than the bound."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from luthier.data.bins import best_fit, first_fit
from luthier.data.fill import BARS, fewest_packs, told_of
from luthier.data.order import Feed


def needed(lengths: list[int], capacity: int) -> int:
    """Packs of the best packing, by trying every one."""

    @cache
    def least(left: tuple[int, ...], rooms: tuple[int, ...]) -> int:
        if not left:
            return len(rooms)
        first, rest = left[0], left[1:]
        tried = [
            least(rest, tuple(sorted((*rooms[:at], room - first, *rooms[at + 1 :]))))
            for at, room in enumerate(rooms)
            if room >= first
        ]
        return min([least(rest, tuple(sorted((*rooms, capacity - first)))), *tried])

    return least(tuple(sorted(lengths, reverse=True)), ())


@given(some.integers(1, 13).flatmap(lambda c: some.tuples(some.just(c), some.lists(some.integers(1, c), max_size=7))))
def test_no_packing_gets_below_the_bound(case: tuple[int, list[int]]) -> None:
    capacity, lengths = case
    bound = fewest_packs(np.array(lengths, np.int64), capacity)
    assert -(-sum(lengths) // capacity) <= bound <= needed(lengths, capacity)


@pytest.mark.parametrize(
    ("lengths", "capacity", "fewest"),
    [
        ([6] * 100, 10, 100),
        ([6, 4] * 50, 10, 50),
        ([10] * 3, 10, 3),
        ([7, 7, 3, 3, 3], 10, 3),
        ([4] * 5, 12, 2),
        ([], 8, 0),
    ],
)
def test_long_documents_raise_the_bound_above_their_tokens(lengths: list[int], capacity: int, fewest: int) -> None:
    assert fewest_packs(np.array(lengths, np.int64), capacity) == fewest


@pytest.mark.parametrize("capacity", [2048, 4096])
@pytest.mark.parametrize("kind", ["best_fit", "first_fit", "concatenate"])
def test_lengths_like_alpacas_fill_their_packs(capacity: int, kind: str) -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(5.0, 0.8, 50_000).astype(np.int64), 12, capacity)
    feed = Feed(lengths, capacity, micro=1, accumulation=1, shuffle=True, seed=0, kind=kind)  # type: ignore[arg-type]
    told = told_of(feed, feed.packs(0))
    assert 0.99 <= told["efficiency"] <= told["best_efficiency"] <= 1
    assert told["fewest_packs"] <= len(feed.packs(0)) <= told["fewest_packs"] * 1.001 + 1


def test_the_bound_is_reached_where_the_planner_is_best() -> None:
    lengths = np.array([6, 4, 7, 3, 8, 2] * 20)
    for fill in (best_fit, first_fit):
        assert len(fill(np.arange(120), lengths, 10)) == fewest_packs(lengths, 10) == 60


@pytest.mark.parametrize("longest", [1, 5, 24, 25, 1000])
def test_every_document_is_counted_under_its_length(longest: int) -> None:
    lengths = np.random.default_rng(1).integers(1, longest + 1, size=500)
    lengths[0] = longest
    feed = Feed(lengths, None, micro=1, accumulation=1, shuffle=False, seed=0)
    told = told_of(feed, feed.packs(0))
    assert set(told) == {"lengths"}
    width, counts = told["lengths"]["width"], told["lengths"]["counts"]
    assert len(counts) <= BARS and sum(counts) == 500
    assert counts == [int(((lengths > at * width) & (lengths <= (at + 1) * width)).sum()) for at in range(len(counts))]
    assert told["lengths"]["longest"] == longest and told["lengths"]["median"] == int(np.median(lengths))


def test_documents_that_come_twice_count_twice() -> None:
    feed = Feed(
        np.array([4, 9]),
        10,
        micro=1,
        accumulation=1,
        shuffle=False,
        seed=0,
        sources=np.array([0, 1]),
        weights=(3.0, 1.0),
    )
    told = told_of(feed, feed.packs(0))
    assert sum(told["lengths"]["counts"]) == 4
    assert told["efficiency"] == 21 / (len(feed.packs(0)) * 10) and told["fewest_packs"] == 3
