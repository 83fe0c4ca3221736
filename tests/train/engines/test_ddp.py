"""Two real processes with the whole model each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import World
from tests.train.engines.runs import Call, assert_alike, identical, interrupted, recipe, run

Write = Callable[..., Path]


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_go_on_as_if_never_stopped(
    world: World, write_recipe: Write, luthier: Call, tmp_path: Path
) -> None:
    file = write_recipe(recipe(world))
    run(luthier, file, tmp_path / "one", 1)
    said = run(luthier, file, tmp_path / "two", 2)
    assert_alike(tmp_path / "one", tmp_path / "two")
    assert said.count("loading the model") == 1
    again = interrupted(tmp_path / "two", tmp_path / "again", 4)
    assert "going on from" in run(luthier, file, again, 2)
    assert identical(tmp_path / "two", again)


@pytest.mark.slow
def test_steps_are_those_of_the_first_process_count_whatever_goes_on(
    world: World, write_recipe: Write, luthier: Call, tmp_path: Path
) -> None:
    file = write_recipe(recipe(world, batch={"world": None}))
    run(luthier, file, tmp_path / "two", 2)
    fewer = interrupted(tmp_path / "two", tmp_path / "fewer", 2)
    run(luthier, file, fewer, 1)
    more = interrupted(fewer, tmp_path / "more", 4)
    run(luthier, file, more, 2)
    assert_alike_at_the_end(tmp_path / "two", fewer)
    assert_alike_at_the_end(tmp_path / "two", more)


def assert_alike_at_the_end(one: Path, other: Path) -> None:
    import torch

    from tests.train.engines.runs import figures, weights

    torch.testing.assert_close(
        torch.tensor([row[2:] for row in figures(one)[-3:]]), torch.tensor([row[2:] for row in figures(other)[-3:]])
    )
    for name, tensor in weights(one).items():
        torch.testing.assert_close(tensor, weights(other)[name], rtol=1e-4, atol=1e-5)
