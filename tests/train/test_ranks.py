"""How processes share out a step, and how a broken exchange is told from other errors."""

from __future__ import annotations

import pytest

from luthier.train.ranks import Ranks, is_broken_exchange
from luthier.train.signs import Lost


@pytest.mark.parametrize(("items", "count"), [(4, 2), (3, 2), (1, 3), (5, 1)])
def test_each_item_counts_once_and_all_processes_have_equally_many(items: int, count: int) -> None:
    shares = [Ranks(index, count).share([f"item {number}" for number in range(items)]) for index in range(count)]
    assert len({len(share) for share in shares}) == 1
    counted = sorted((number, item) for share in shares for number, item, counts in share if counts)
    assert counted == [(number, f"item {number}") for number in range(items)]
    assert all((number, item) == (0, "item 0") for share in shares for number, item, counts in share if not counts)


def test_one_process_asks_nobody() -> None:
    ranks = Ranks()
    assert ranks.first and ranks.sums([1.5, 2.0]) == [1.5, 2.0] and ranks.largest(None) is None
    assert ranks.all("x") == ["x"] and ranks.told({"a": 1}) == {"a": 1} and ranks.after_first("x", lambda: 3) == 3
    with pytest.raises(RuntimeError, match="Connection closed by peer"), ranks.guarded():
        raise RuntimeError("Connection closed by peer")


def test_only_a_failed_exchange_is_another_processes_fault() -> None:
    assert is_broken_exchange(RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection reset by peer"))
    assert not is_broken_exchange(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_broken_exchange(Lost("rank 1 died"))
