"""Two real processes with the whole model each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import World
from tests.processes import Forked
from tests.train.engines.runs import (
    ADAPTED,
    alone,
    assert_alike,
    ends_alike,
    goes_on_identically,
    interrupted,
    recipe,
    run,
)

Write = Callable[..., Path]
pytestmark = pytest.mark.slow


def test_two_processes_train_as_one_does(world: World, write_recipe: Write, forked: Forked, tmp_path: Path) -> None:
    tree = recipe(world)
    said = run(forked, write_recipe(tree), tmp_path / "two", 2)
    assert_alike(alone(forked, tree), tmp_path / "two")
    assert said.count("loading the model") == 1


def test_dropout_and_packs_go_on_in_the_middle_of_an_epoch(
    world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    file = write_recipe(recipe(world, **ADAPTED))
    run(forked, file, tmp_path / "two", 2)
    goes_on_identically(forked, file, tmp_path / "two", 4)


def test_steps_are_those_of_the_first_process_count_whatever_goes_on(
    world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    tree = recipe(world, batch={"world": None, "accumulation": 4})
    file = write_recipe(tree)
    run(forked, file, tmp_path / "one", 1)
    more = interrupted(tmp_path / "one", tmp_path / "more", 2)
    run(forked, file, more, 2)
    fewer = interrupted(more, tmp_path / "fewer", 4)
    run(forked, file, fewer, 1, "batch.micro=2", "batch.accumulation=2")
    for other in (more, fewer):
        ends_alike(tmp_path / "one", other)


def test_another_batch_is_refused_and_the_same_one_shared_out_otherwise_is_not(
    world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    file = write_recipe(recipe(world, batch={"world": None, "accumulation": 4}))
    run(forked, file, tmp_path / "one", 1)
    words = ("train", file, "batch.accumulation=2", f"output.dir={interrupted(tmp_path / 'one', tmp_path / 'two', 4)}")
    refused = forked(*words, cwd=tmp_path)
    assert refused.returncode == 2 and "number of packs a step (was 4, now 2)" in refused.stderr
    taken = forked(*words, cwd=tmp_path, processes=2)
    assert taken.returncode == 0, taken.stderr
    ends_alike(tmp_path / "one", tmp_path / "two")
