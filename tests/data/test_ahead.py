"""Making the next thing early changes neither which things come nor what goes wrong, nor when that shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some

from luthier.data.ahead import Ahead


def logged(count: int, log: list[int], fails: bool = False) -> Iterator[int]:
    for number in range(count):
        log.append(number)
        yield number
    if fails:
        raise ValueError("the last one")


@given(some.integers(0, 6), some.lists(some.booleans(), min_size=7, max_size=7), some.booleans())
def test_things_come_once_and_in_their_order(count: int, early: list[bool], fails: bool) -> None:
    made: list[int] = []
    things = Ahead(logged(count, made, fails))
    for number in range(count):
        if early[number]:
            things.prepare()
            things.prepare()
            assert made == list(range(number + 1))
        assert next(things) == number
    if early[-1]:
        things.prepare()
    for _ in range(2):
        with pytest.raises(ValueError if fails else StopIteration):
            next(things)


def test_the_next_one_is_made_no_earlier_than_asked() -> None:
    made: list[int] = []
    things = Ahead(logged(3, made))
    assert made == [] and next(things) == 0 and made == [0]
    things.prepare()
    assert made == [0, 1] and list(things) == [1, 2]
