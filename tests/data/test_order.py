"""The order of an epoch is a pure function of data, seed and epoch, and the planned steps are the steps."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.order import Feed, feed_of, total_steps
from tests.conftest import World
from tests.data.made import recipe_of

LENGTHS = np.random.default_rng(0).integers(1, 33, 97)
FEED = Feed(LENGTHS, capacity=64, micro=2, accumulation=3, shuffle=True, seed=7)


def plain(feed: Feed, epoch: int) -> list[list[list[int]]]:
    return [[micro.tolist() for micro in step] for step in feed.steps(epoch)]


def flat(feed: Feed, epoch: int) -> list[int]:
    return [document for step in plain(feed, epoch) for micro in step for document in micro]


@pytest.mark.parametrize("capacity", [None, 64])
def test_an_epoch_is_the_same_whenever_it_is_asked_for(capacity: int | None) -> None:
    feed = replace(FEED, capacity=capacity)
    first = plain(feed, 3)
    plain(feed, 1)
    assert plain(replace(feed, lengths=LENGTHS.copy()), 3) == first


@pytest.mark.parametrize("capacity", [None, 64])
def test_epochs_and_seeds_differ(capacity: int | None) -> None:
    feed = replace(FEED, capacity=capacity)
    other = replace(feed, seed=8)
    orders = [flat(feed, 0), flat(feed, 1), flat(other, 0), flat(other, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_packs_are_made_anew_each_epoch() -> None:
    together = [{frozenset(packs[p].tolist()) for p in range(len(packs))} for packs in (FEED.packs(0), FEED.packs(1))]
    assert together[0] != together[1]


def test_packs_of_long_documents_do_not_come_first() -> None:
    packs = FEED.packs(0)
    longest = [int(LENGTHS[packs[pack]].max()) for pack in range(len(packs))]
    assert longest != sorted(longest, reverse=True)


def test_without_shuffling_documents_come_in_their_order() -> None:
    feed = replace(FEED, shuffle=False, capacity=None)
    assert flat(feed, 0) == flat(feed, 5) == list(range(97))


def test_without_shuffling_packs_come_by_their_first_document() -> None:
    packs = replace(FEED, shuffle=False).packs(0)
    firsts = [int(packs[pack].min()) for pack in range(len(packs))]
    assert firsts == sorted(firsts) and len(packs) < 97


def test_steps_hold_micro_times_accumulation_packs() -> None:
    feed = replace(FEED, capacity=None)
    steps = plain(feed, 0)
    assert [[len(micro) for micro in step] for step in steps] == [[2, 2, 2]] * 16 + [[1]]
    assert plain(replace(feed, drop_last=True), 0) == steps[:-1]


def test_packs_stay_together_in_a_micro_batch() -> None:
    packs = FEED.packs(0)
    expected = [
        [*packs[at].tolist(), *(packs[at + 1].tolist() if at + 1 < len(packs) else [])]
        for at in range(0, len(packs), 2)
    ]
    assert [micro for step in plain(FEED, 0) for micro in step] == expected


FEEDS = st.builds(
    Feed,
    lengths=st.lists(st.integers(1, 16), min_size=1, max_size=40).map(lambda found: np.array(found, np.int64)),
    capacity=st.none() | st.integers(16, 40),
    micro=st.integers(1, 4),
    accumulation=st.integers(1, 4),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**32),
    drop_last=st.booleans(),
)


@given(FEEDS)
@settings(max_examples=150, deadline=None)
def test_planned_steps_are_the_steps_of_every_epoch(feed: Feed) -> None:
    assert [len(plain(feed, epoch)) for epoch in range(4)] == [feed.steps_per_epoch()] * 4
    assert feed.steps_per_epoch() >= 1


@given(FEEDS)
@settings(max_examples=100, deadline=None)
def test_every_document_comes_once_in_an_epoch(feed: Feed) -> None:
    everything = list(range(len(feed.lengths)))
    for epoch in range(2):
        assert sorted(flat(replace(feed, drop_last=False), epoch)) == everything
        seen = flat(feed, epoch)
        assert len(seen) == len(set(seen))
    packs = feed.packs(1)
    if feed.capacity is not None:
        assert max(int(feed.lengths[packs[p]].sum()) for p in range(len(packs))) <= feed.capacity
    size = feed.micro * feed.accumulation
    dropped = len(packs) % size if feed.drop_last and len(packs) > size else 0
    assert len(flat(feed, 1)) == len(packs.documents[: packs.starts[len(packs) - dropped]])


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, {"capacity": 96, "micro": 1, "accumulation": 1, "shuffle": True, "drop_last": False}),
        ({"pack": {"length": 200}}, {"capacity": 200}),
        ({"pack": {"kind": "none", "length": 200}}, {"capacity": None}),
        (
            {"batch": {"micro": 3, "accumulation": 5, "drop_last": True}},
            {"micro": 3, "accumulation": 5, "drop_last": True},
        ),
        ({"data": {"shuffle": False}, "seed": 11}, {"shuffle": False, "seed": 11}),
    ],
)
def test_a_recipe_says_how_documents_are_fed(world: World, sections: dict[str, Any], expected: dict[str, Any]) -> None:
    feed = feed_of(recipe_of(world, **sections), LENGTHS)
    assert {name: getattr(feed, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("batch", "steps"),
    [
        ({"epochs": 2}, 20),
        ({"epochs": 0.25}, 3),
        ({"epochs": 1.05}, 11),
        ({"epochs": 0.001}, 1),
        ({"epochs": 9, "steps": 4}, 4),
    ],
)
def test_a_fraction_of_an_epoch_is_rounded_up(world: World, batch: dict[str, Any], steps: int) -> None:
    assert total_steps(recipe_of(world, batch=batch), 10) == steps
    assert steps == batch.get("steps", math.ceil(batch["epochs"] * 10))
