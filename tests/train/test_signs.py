"""What processes hear of one another: who stands still, who died, and who tells the user what is wrong."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from luthier.environment import World as Place
from luthier.errors import RunError
from luthier.recipe import Recipe
from luthier.train.join import join
from luthier.train.launch import free_port
from luthier.train.ranks import Ranks
from luthier.train.signs import Lost, faults_of
from tests.train.engines.children import at_once


def test_a_fault_is_told_as_ours_or_by_its_kind() -> None:
    assert faults_of(RunError("full", place="disk"))[0].place == "disk"
    assert faults_of(ValueError("odd"))[0].reason == "ValueError: odd"


def _second(port: int, first: Callable[[Ranks], None], said: Connection) -> None:
    ranks = join(Recipe(), Place(1, 2, 1, "127.0.0.1", port))
    ranks.signs.timeout = 1.0
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
    tells = ranks.signs.failed(RunError("the same for all"))
    assert tells == ranks.first
    if tells:
        time.sleep(1.0)
        sign.touch()
        os._exit(2)
    os._exit(2 if sign.exists() else 1)


def test_the_others_end_after_the_first_has_told_what_is_wrong(tmp_path: Path) -> None:
    """A launcher that ends all once one has ended in error would else take the word from the one that has it."""
    assert at_once(2, partial(_told_by_the_first, sign=tmp_path / "told")) == [2, 2]
