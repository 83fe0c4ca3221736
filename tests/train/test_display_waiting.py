"""At its end the loop says what share of its steps' time went by waiting for data."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from luthier.data.batch import Batch
from luthier.data.pack import Item
from luthier.record.events import Stepped
from luthier.train import loop
from luthier.train.display import Display
from luthier.train.loop import collated, train
from luthier.train.work import Progress, Work
from tests.conftest import World
from tests.data.made import recipe_of
from tests.report.folders import stepped
from tests.train.test_loop import work_of


def test_the_share_of_waiting_is_that_of_the_events() -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=200))
    display.begin(0, 3)
    for step in (1, 2, 3):
        display.stepped(stepped(step, seconds=2.0, waited=0.01 * step))
    display.end()
    display.end()
    assert out.getvalue().count("steps waited for data 1.00% of their time") == 1


def test_a_loop_without_steps_says_nothing_of_it() -> None:
    out = io.StringIO()
    Display(Console(file=out)).end()
    assert out.getvalue() == ""


def test_a_step_that_waits_for_its_batches_says_how_long(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on only while batches are made: all of the time is waiting."""
    now = 0.0

    def slow(work: Work, items: list[Item]) -> Batch:
        nonlocal now
        now += 3.0
        return collated(work, items)

    monkeypatch.setattr(loop, "collated", slow)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: now))
    work = work_of(world, recipe_of(world, pack={"kind": "none"}), micro=2, accumulation=2, total=3)
    steps: list[Stepped] = []
    train(work, Progress(), lambda step: bool(steps.append(step)))
    assert [(step.waited, step.seconds) for step in steps] == [(6.0, 6.0)] * 3
