"""How processes share out a step, and how a broken exchange is told from other errors."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.environment import World as Place
from luthier.errors import RunError
from luthier.recipe import Recipe
from luthier.train.checkpoint import of_this_rank
from luthier.train.launch import free_port
from luthier.train.ranks import Lost, Ranks, faults_of, is_broken_exchange, join
from tests.train.engines.children import at_once


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
    assert faults_of(RunError("full", place="disk"))[0].place == "disk"
    assert faults_of(ValueError("odd"))[0].reason == "ValueError: odd"


def test_a_process_finds_its_own_generators_among_those_saved() -> None:
    saved = {name: torch.tensor([number]) for number, name in enumerate(("cpu", "cpu.1", "cpu.11", "cuda", "cuda.1"))}
    assert of_this_rank(saved, Ranks(0, 2)).keys() == {"cpu", "cuda"}
    assert {name: int(one) for name, one in of_this_rank(saved, Ranks(1, 2)).items()} == {"cpu": 1, "cuda": 4}
    assert of_this_rank(saved, Ranks(2, 3)) == {}


def _second(port: int, first: Callable[[Ranks], None], said: Connection) -> None:
    ranks = join(Recipe(), Place(1, 2, 1, "127.0.0.1", port))
    ranks.timeout = 1.0
    try:
        ranks.after_first("preparing", lambda: None)
    except Lost as error:
        said.send(str(error))
    os._exit(0)


def _first(port: int, first: Callable[[Ranks], None], said: Connection) -> None:
    first(join(Recipe(), Place(0, 2, 0, "127.0.0.1", port)))
    time.sleep(60)


def told_by_the_second(first: Callable[[Ranks], None]) -> str:
    """What a second process says, that waits while the first one does something."""
    context: Any = multiprocessing.get_context("fork")
    port, (heard, said) = free_port(), multiprocessing.Pipe(duplex=False)
    both = [context.Process(target=target, args=(port, first, said)) for target in (_first, _second)]
    try:
        for one in both:
            one.start()
        assert heard.poll(60), "it says nothing"
        return str(heard.recv())
    finally:
        for one in both:
            one.kill()
            one.join()


def test_a_first_process_that_stands_still_is_not_waited_for_without_end() -> None:
    said = told_by_the_second(lambda ranks: ranks.after_first("preparing", lambda: time.sleep(60)))
    assert "rank 0 died or hangs: it was last heard of" in said and "at preparing" in said


def test_a_first_process_that_dies_is_told_of() -> None:
    said = told_by_the_second(lambda ranks: ranks.after_first("preparing", lambda: os._exit(1)))
    assert "rank 0, where the others meet, is gone" in said


def _slow_to_hear(place: Place) -> None:
    ranks = join(Recipe(), place)
    if place.rank:  # it looks once a second
        asleep = time.sleep
        time.sleep = lambda _: asleep(1.0)
    ranks.after_first("the last exchange", lambda: None if place.rank else time.sleep(0.3))
    ranks.part()
    os._exit(0)


def test_the_first_process_stays_until_all_have_heard_its_last_word() -> None:
    assert at_once(2, _slow_to_hear) == [0, 0]


def _told_by_the_first(place: Place, sign: Path) -> None:
    ranks = join(Recipe(), place)
    tells = ranks.failed(RunError("the same for all"))
    assert tells == ranks.first
    if tells:
        time.sleep(1.0)
        sign.touch()
        os._exit(2)
    os._exit(2 if sign.exists() else 1)


def test_the_others_end_after_the_first_has_told_what_is_wrong(tmp_path: Path) -> None:
    """A launcher that ends all once one has ended in error would else take the word from the one that has it."""
    assert at_once(2, partial(_told_by_the_first, sign=tmp_path / "told")) == [2, 2]
