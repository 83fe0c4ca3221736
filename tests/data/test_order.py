"""The order of an epoch is a pure function of data, seed and epoch, and the planned steps are the steps."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.order import Feed, feed_of, total_steps
from luthier.data.pack import Item, Piece
from tests.conftest import World
from tests.data.made import recipe_of

LENGTHS = np.random.default_rng(0).integers(1, 33, 97)
FEED = Feed(LENGTHS, capacity=64, micro=2, accumulation=3, shuffle=True, seed=7)


KINDS = pytest.mark.parametrize("kind", ["best_fit", "first_fit", "concatenate"])


def plain(feed: Feed, epoch: int) -> list[list[list[Item]]]:
    return list(feed.steps(epoch))


def flat(feed: Feed, epoch: int) -> list[int]:
    """The documents of an epoch in their order; one that is cut comes once for each piece."""
    items = [item for step in feed.steps(epoch) for micro in step for item in micro]
    return [item.document if isinstance(item, Piece) else item for item in items]


def tokens(feed: Feed, epoch: int) -> list[tuple[int, int]]:
    """(document, place) of every token of an epoch, sorted."""
    items = [item for step in feed.steps(epoch) for micro in step for item in micro]
    pieces = [item if isinstance(item, Piece) else Piece(item, 0, int(feed.lengths[item])) for item in items]
    return sorted((piece.document, place) for piece in pieces for place in range(piece.begin, piece.end))


def longest(feed: Feed, epoch: int) -> list[int]:
    """The longest document of each pack."""
    packs = feed.packs(epoch)
    return [int(feed.lengths[packs[pack]].max()) for pack in range(len(packs))]


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
    assert longest(FEED, 0) != sorted(longest(FEED, 0), reverse=True)


def test_documents_of_a_micro_batch_are_of_similar_length_when_asked() -> None:
    feed = replace(FEED, capacity=None, by_length=True)
    plainly = replace(feed, by_length=False)

    def spread(one: Feed) -> int:
        return sum(int(np.ptp([LENGTHS[item] for item in micro])) for step in one.steps(0) for micro in step)

    assert spread(feed) < spread(plainly) / 3
    assert sorted(flat(feed, 0)) == list(range(97)) and flat(feed, 0) != flat(feed, 1)
    assert LENGTHS[flat(feed, 0)[0]] == LENGTHS.max()
    assert feed.steps_per_epoch() == plainly.steps_per_epoch()


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_documents_are_grouped_too(count: int) -> None:
    feed = replace(FEED, lengths=LENGTHS[:count], capacity=None, by_length=True)
    assert sorted(flat(feed, 0)) == list(range(count))


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
    kind=st.sampled_from(["best_fit", "first_fit", "concatenate"]),
    curriculum=st.sampled_from(["none", "none", "short_first", "long_first"]),
    turns=st.booleans(),
    micro=st.integers(1, 4),
    accumulation=st.integers(1, 4),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**32),
    drop_last=st.booleans(),
)


MIXED = st.builds(
    lambda feed, sources, weights: replace(
        feed, sources=np.resize(sources, len(feed.lengths)), weights=weights, horizon=4
    ),
    FEEDS,
    st.lists(st.integers(0, 2), min_size=1, max_size=40),
    st.tuples(*[st.sampled_from([1.0, 1.0, 2.0, 0.5, 0.3, 1.7])] * 3),
)


@given(FEEDS | MIXED)
@settings(max_examples=300, deadline=None)
def test_planned_steps_are_the_steps_of_every_epoch(feed: Feed) -> None:
    assert [len(plain(feed, epoch)) for epoch in range(4)] == [feed.steps_per_epoch()] * 4
    assert [len(feed.packs(epoch)) for epoch in range(4)] == [feed.count] * 4
    assert feed.steps_per_epoch() >= 1
    assert all(micro for step in plain(feed, 3) for micro in step)


@given(FEEDS)
@settings(max_examples=150, deadline=None)
def test_every_token_comes_once_in_an_epoch(feed: Feed) -> None:
    everything = [(document, place) for document, length in enumerate(feed.lengths) for place in range(length)]
    for epoch in range(2):
        assert tokens(replace(feed, drop_last=False), epoch) == everything
        seen = tokens(feed, epoch)
        assert len(seen) == len(set(seen))
    packs = feed.packs(1)
    if feed.capacity is not None:
        own = packs.lengths(feed.lengths)
        sizes = [int(own[packs.starts[p] : packs.starts[p + 1]].sum()) for p in range(len(packs))]
        assert max(sizes) <= feed.capacity
        if feed.drop_last and feed.kind == "concatenate" and len(packs) > 1:
            assert min(sizes) == feed.capacity
    size = feed.micro * feed.accumulation
    dropped = len(packs) % size if feed.drop_last and len(packs) > size else 0
    assert len(flat(feed, 1)) == len(packs.documents[: packs.starts[len(packs) - dropped]])


@given(MIXED)
@settings(max_examples=150, deadline=None)
def test_weighted_documents_come_as_often_as_they_are_drawn(feed: Feed) -> None:
    feed = replace(feed, drop_last=False)
    for epoch in range(3):
        drawn = Counter(int(document) for one in feed.documents(epoch) for document in one)
        if feed.kind != "concatenate" or sum(feed.lengths[list(drawn.elements())]) >= feed.count:
            found = Counter(document for document, _ in tokens(feed, epoch))
            assert found == Counter({document: many * int(feed.lengths[document]) for document, many in drawn.items()})


@pytest.mark.parametrize("kind", ["best_fit", "first_fit"])
def test_the_copies_of_a_document_are_in_different_packs(kind: Any) -> None:
    feed = replace(FEED, kind=kind, lengths=np.full(40, 3), sources=np.zeros(40, np.int64), weights=(3.0,))
    packs = feed.packs(0)
    assert all(len(set(packs[pack].tolist())) == len(packs[pack]) for pack in range(len(packs)))
    assert Counter(flat(feed, 0)) == dict.fromkeys(range(40), 3)


@KINDS
def test_the_kind_of_packing_is_the_one_asked_for(kind: Any) -> None:
    lengths = np.array([7, 5, 4, 1])
    feed = Feed(lengths, 10, micro=1, accumulation=1, shuffle=False, seed=0, kind=kind)
    assert (
        plain(feed, 0)
        == {
            "best_fit": [[[0]], [[1, 2, 3]]],
            "first_fit": [[[0, 3]], [[1, 2]]],
            "concatenate": [[[(0, 0, 7), (1, 0, 3)]], [[(1, 3, 5), (2, 0, 4), (3, 0, 1)]]],
        }[kind]
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_a_curriculum_goes_by_length_and_ties_by_seed(sign: int) -> None:
    feed = replace(FEED, capacity=None, curriculum="short_first" if sign == 1 else "long_first", by_length=True)
    orders = [flat(feed, epoch) for epoch in range(2)]
    assert orders[0] != orders[1]
    for order in orders:
        found = [sign * int(LENGTHS[document]) for document in order]
        assert found == sorted(found) and sorted(order) == list(range(97))
    still = flat(replace(feed, shuffle=False), 0)
    assert still == sorted(range(97), key=lambda document: sign * int(LENGTHS[document]))


@pytest.mark.parametrize("kind", ["best_fit", "first_fit"])
def test_a_curriculum_of_packs_goes_by_their_longest_document(kind: Any) -> None:
    short = longest(replace(FEED, kind=kind, curriculum="short_first"), 1)
    assert short == sorted(short) and short[0] < short[-1]
    long = longest(replace(FEED, kind=kind, curriculum="long_first"), 1)
    assert long == sorted(long, reverse=True)


def test_in_turn_every_part_of_an_epoch_has_its_share_of_each_source() -> None:
    sources = np.arange(97) // 73
    feed = replace(FEED, capacity=None, sources=sources, weights=(1.0, 1.0), turns=True)
    for epoch in range(3):
        order = sources[flat(feed, epoch)]
        for parts in range(2, 9):
            assert all(abs(part.sum() - len(part) * 24 / 97) < 1.5 for part in np.array_split(order, parts))
    assert flat(feed, 0) != flat(feed, 1)


def test_packs_go_by_the_turn_of_their_longest_document() -> None:
    feed = replace(FEED, sources=np.arange(97) // 73, weights=(1.0, 1.0), turns=True)
    turn = flat(replace(feed, capacity=None), 2)
    packs = feed.packs(2)
    turns = [turn.index(int(packs[pack][0])) for pack in range(len(packs))]
    assert turns == sorted(turns)


def test_where_epochs_differ_all_get_the_packs_of_the_longest() -> None:
    lengths = np.array([10, 10, 10, 10, 1, 1, 1, 1])
    feed = Feed(lengths, 10, 1, 1, shuffle=True, seed=5, sources=np.zeros(8, np.int64), weights=(0.5,), horizon=2)
    needed = [len(replace(feed, sources=None, lengths=lengths[feed.documents(e)[0]]).packs(0)) for e in range(2)]
    assert needed[0] != needed[1]
    assert [len(feed.packs(epoch)) for epoch in range(2)] == [max(needed)] * 2


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
        ({"pack": {"kind": "first_fit"}}, {"kind": "first_fit"}),
        ({"pack": {"kind": "concatenate"}}, {"kind": "concatenate", "capacity": 96}),
        ({"data": {"curriculum": "long_first", "mix": "in_turn"}}, {"curriculum": "long_first", "turns": True}),
        ({}, {"curriculum": "none", "turns": False, "weights": (), "horizon": 1}),
    ],
)
def test_a_recipe_says_how_documents_are_fed(world: World, sections: dict[str, Any], expected: dict[str, Any]) -> None:
    feed = feed_of(recipe_of(world, **sections), LENGTHS)
    assert {name: getattr(feed, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("batch", "horizon"), [({"epochs": 3}, 3), ({"epochs": 2.2}, 3), ({"epochs": 1, "steps": 40}, 2)]
)
def test_weights_are_planned_over_all_epochs_of_the_run(world: World, batch: dict[str, Any], horizon: int) -> None:
    train = [{"path": str(world.questions), "weight": weight} for weight in (2.0, 0.5)]
    recipe = recipe_of(world, data={"train": train}, batch=batch, pack={"kind": "none"})
    sources = np.array([0] * 10 + [1] * 20)
    feed = feed_of(recipe, np.full(30, 5), sources)
    assert (feed.weights, feed.count, feed.horizon) == ((2.0, 0.5), 30, horizon)
    assert feed_of(recipe, np.full(30, 5)).count == 30 and feed_of(recipe, np.full(30, 5)).weights == ()


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


@pytest.mark.parametrize("kind", ["dpo", "kto"])
def test_pairs_share_packs_by_the_length_of_both_answers(world: World, kind: str) -> None:
    lengths = np.random.default_rng(2).integers(20, 129, 400)
    feed = feed_of(recipe_of(world, data={"max_length": 64}, method={"kind": kind}), lengths)
    assert feed.capacity == 128
    packs = feed.packs(0)
    assert sorted(packs.documents.tolist()) == list(range(400)) and packs.begins is None
    assert int(np.add.reduceat(lengths[packs.documents], packs.starts[:-1]).max()) <= 128
    assert lengths.sum() / (len(packs) * 128) > 0.9
