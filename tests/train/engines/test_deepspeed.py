"""Two real processes under DeepSpeed's ZeRO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.plan.instead import installed
from tests.conftest import World
from tests.processes import Forked
from tests.train.engines.runs import ADAPTED, alone, assert_alike, goes_on_identically, quantised, recipe, run

Write = Callable[..., Path]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not installed("deepspeed"), reason="DeepSpeed is not installed"),
]
STAGES: dict[str, dict[str, Any]] = {
    "1": {"stage": 1},
    "2": {"stage": 2},
    "2-offloaded": {"stage": 2, "offload_optimizer": True},
    "3-offloaded": {"stage": 3, "offload_optimizer": True, "offload_parameters": True},
}


@pytest.mark.parametrize("parallel", STAGES.values(), ids=STAGES)
def test_two_processes_train_as_one_does_and_go_on_as_if_never_stopped(
    parallel: dict[str, Any], world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    tree = recipe(world, parallel={"engine": "deepspeed", **parallel})
    run(forked, write_recipe(tree), tmp_path / "two", 2)
    assert_alike(alone(forked, tree), tmp_path / "two")
    goes_on_identically(forked, write_recipe(tree), tmp_path / "two", 4)


def test_dropout_and_packs_go_on_in_the_middle_of_an_epoch(
    world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    file = write_recipe(recipe(world, parallel={"engine": "deepspeed", "stage": 3}, **ADAPTED))
    run(forked, file, tmp_path / "two", 2)
    goes_on_identically(forked, file, tmp_path / "two", 4)


@pytest.mark.skipif(not installed("bitsandbytes"), reason="bitsandbytes is not installed")
def test_packed_bits_are_shared_out(world: World, write_recipe: Write, forked: Forked, tmp_path: Path) -> None:
    tree = recipe(world, parallel={"engine": "deepspeed", "stage": 3}, **quantised(world, tmp_path, "bf16"))
    assert "frozen tensors are bit for bit" in run(forked, write_recipe(tree), tmp_path / "two", 2)
    assert_alike(alone(forked, tree), tmp_path / "two", 1e-4)


@pytest.mark.parametrize("kind", ["sgd", "lion_32bit"])
def test_optimisers_that_take_each_number_by_itself(
    kind: str, world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    args = {"momentum": 0.9} if kind == "sgd" else {}
    optimizer = {"kind": kind, "args": args, "lr": 1e-2 if kind == "sgd" else 1e-3}
    tree = recipe(world, parallel={"engine": "deepspeed", "stage": 2}, optimizer=optimizer)
    run(forked, write_recipe(tree), tmp_path / "two", 2)
    assert_alike(alone(forked, tree), tmp_path / "two", 1e-4)
    goes_on_identically(forked, write_recipe(tree), tmp_path / "two", 4)
