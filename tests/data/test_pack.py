"""Packs of whole documents and of pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.pack import Packs, Piece, concatenate, joined, one_each


def contents(packs: Packs) -> list[list[int]]:
    return [packs[pack].tolist() for pack in range(len(packs))]


def test_packs_can_be_taken_in_another_order() -> None:
    packs = Packs(np.array([5, 3, 1, 0, 2, 4]), np.array([0, 2, 3, 6]))
    assert contents(packs.taken(np.array([2, 0, 1]))) == [[0, 2, 4], [5, 3], [1]]
    assert contents(packs.taken(np.array([1]))) == [[1]]


def test_each_document_can_have_a_pack_of_its_own() -> None:
    assert contents(one_each(np.array([2, 0, 1]))) == [[2], [0], [1]]


def test_packs_can_be_joined() -> None:
    one, two = Packs(np.array([4, 1, 2]), np.array([0, 2, 3])), Packs(np.array([1, 4]), np.array([0, 2]))
    assert contents(joined([one, two])) == [[4, 1], [2], [1, 4]]
    assert joined([one]) is one


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_packs_can_be_split_up(count: int) -> None:
    split = Packs(np.array([4, 1, 2, 0, 3]), np.array([0, 3, 5])).split_up(count)
    assert len(split) == count and all(contents(split))
    assert split.documents.tolist() == [4, 1, 2, 0, 3]
    together = [{4, 1, 2}, {0, 3}]
    assert all(any(set(pack) <= whole for whole in together) for pack in contents(split))


def test_whole_documents_are_items_as_they_are() -> None:
    packs = Packs(np.array([5, 3, 1]), np.array([0, 2, 3]))
    assert packs.items(0, 1) == [5, 3] and packs.items(0, 2) == [5, 3, 1] and packs.items(2, 2) == []
    assert packs.lengths(np.array([0, 10, 0, 30, 0, 50])).tolist() == [50, 30, 10]


LENGTHS = st.lists(st.integers(1, 40), max_size=30)


def tokens_of(packs: Packs) -> list[list[tuple[int, int]]]:
    """(document, place) of every token, pack by pack."""
    rows: list[list[tuple[int, int]]] = []
    for pack in range(len(packs)):
        rows.append([])
        for item in packs.items(pack, pack + 1):
            assert isinstance(item, Piece) and item.begin < item.end
            rows[-1] += [(item.document, place) for place in range(item.begin, item.end)]
    return rows


@given(LENGTHS, st.integers(1, 25), st.permutations(range(30)))
@settings(max_examples=200, deadline=None)
def test_concatenated_every_token_comes_once_and_every_row_but_the_last_is_full(
    found: list[int], capacity: int, order: list[int]
) -> None:
    documents = [one for one in order if one < len(found)]
    packs = concatenate(np.array(documents, np.int64), np.array(found, np.int64), capacity)
    rows = tokens_of(packs)
    assert [token for row in rows for token in row] == [(d, place) for d in documents for place in range(found[d])]
    assert {len(row) for row in rows[:-1]} <= {capacity} and len(packs) == -(-sum(found) // capacity)
    assert packs.lengths(np.array(found)).sum() == sum(found)


@given(LENGTHS, st.integers(1, 25), st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_concatenated_into_a_number_of_rows(found: list[int], capacity: int, count: int) -> None:
    count = min(count, sum(found))
    rows = tokens_of(concatenate(np.arange(len(found)), np.array(found, np.int64), capacity, count))
    everything = [(d, place) for d, length in enumerate(found) for place in range(length)]
    assert len(rows) == count and all(0 < len(row) <= capacity for row in rows)
    assert [token for row in rows for token in row] == everything[: count * capacity]


def test_a_document_may_fill_several_rows() -> None:
    packs = concatenate(np.array([1, 0]), np.array([2, 7]), 3)
    assert [packs.items(row, row + 1) for row in range(3)] == [
        [Piece(1, 0, 3)],
        [Piece(1, 3, 6)],
        [Piece(1, 6, 7), Piece(0, 0, 2)],
    ]


def test_documents_that_end_with_a_row_are_not_cut() -> None:
    packs = concatenate(np.arange(3), np.array([3, 1, 2]), 3)
    assert packs.items(0, 2) == [Piece(0, 0, 3), Piece(1, 0, 1), Piece(2, 0, 2)]
