"""Two real processes under DeepSpeed's ZeRO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.plan.instead import installed
from luthier.recipe.validate import build
from luthier.train.engines.deepspeed_settings import deepspeed_settings, nested
from tests.conftest import World
from tests.train.engines.runs import Call, assert_alike, identical, interrupted, quantised, recipe, run

Write = Callable[..., Path]
needs_deepspeed = pytest.mark.skipif(not installed("deepspeed"), reason="DeepSpeed is not installed")


@needs_deepspeed
@pytest.mark.slow
@pytest.mark.parametrize(
    "parallel",
    [{"stage": 1}, {"stage": 2}, {"stage": 3}, {"stage": 3, "offload_optimizer": True, "offload_parameters": True}],
    ids=["1", "2", "3", "3-offloaded"],
)
def test_two_processes_train_as_one_does_and_go_on_as_if_never_stopped(
    parallel: dict[str, Any], world: World, write_recipe: Write, luthier: Call, tmp_path: Path
) -> None:
    file = write_recipe(recipe(world, parallel={"engine": "deepspeed", **parallel}))
    run(luthier, file, tmp_path / "one", 1)
    run(luthier, file, tmp_path / "two", 2)
    assert_alike(tmp_path / "one", tmp_path / "two")
    again = interrupted(tmp_path / "two", tmp_path / "again", 4)
    run(luthier, file, again, 2)
    assert identical(tmp_path / "two", again)


@needs_deepspeed
@pytest.mark.slow
@pytest.mark.skipif(not installed("bitsandbytes"), reason="bitsandbytes is not installed")
def test_packed_bits_are_shared_out(world: World, write_recipe: Write, luthier: Call, tmp_path: Path) -> None:
    parallel = {"engine": "deepspeed", "stage": 3}
    file = write_recipe(recipe(world, parallel=parallel, **quantised(world, tmp_path, "bf16")))
    run(luthier, file, tmp_path / "one", 1)
    assert "frozen tensors are bit for bit" in run(luthier, file, tmp_path / "two", 2)
    assert_alike(tmp_path / "one", tmp_path / "two")


def test_a_files_own_settings_are_handed_on_and_the_recipes_win() -> None:
    parallel = {
        "engine": "deepspeed",
        "stage": 3,
        "offload_optimizer": True,
        "deepspeed_config": {
            "zero_optimization.sub_group_size": 5,
            "zero_optimization.offload_optimizer.pin_memory": True,
            "zero_optimization.offload_param.pin_memory": True,
            "communication_data_type": "fp32",
        },
    }
    tree = {
        "model": {"path": "m"},
        "data": {"train": [{"path": "r"}]},
        "parallel": parallel,
        "optimizer": {"clip": 0.5},
    }
    settings = deepspeed_settings(build(tree, str))
    assert settings["zero_optimization"] == {
        "sub_group_size": 5,
        "stage": 3,
        "offload_optimizer": {"pin_memory": True, "device": "cpu"},
    }
    assert settings["gradient_clipping"] == 0.5 and settings["communication_data_type"] == "fp32"


def test_names_with_dots_are_a_tree() -> None:
    assert nested({"a.b": 1, "a": {"c": {"d": 2}}, "x": 3}) == {"a": {"b": 1, "c": {"d": 2}}, "x": 3}
