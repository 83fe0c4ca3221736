"""Checkpoints belong to no engine: what one shares out, another reads as it shares it out itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load

from luthier.plan.instead import installed
from luthier.train import checkpoint
from tests.conftest import World
from tests.processes import Forked
from tests.train.engines.runs import alone, assert_alike, ends_alike, recipe, run, weights

Write = Callable[..., Path]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not installed("deepspeed"), reason="DeepSpeed is not installed"),
]
AFTER: list[tuple[dict[str, Any], int]] = [
    ({"engine": "fsdp", "stage": 3}, 2),
    ({"engine": "deepspeed", "stage": 2}, 2),
    ({"engine": "deepspeed", "stage": 3}, 2),
    ({}, 1),
]


def test_what_one_engine_saves_every_other_goes_on_from(
    parallel: dict[str, Any], world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    tree = recipe(world, parallel=parallel)
    run(forked, write_recipe(tree), tmp_path / "two", 2)
    assert_alike(alone(forked, tree), tmp_path / "two")
    saved = tmp_path / "two" / "checkpoints" / "step-00000004"
    for number, (section, processes) in enumerate(AFTER):
        out = tmp_path / f"after-{number}"
        run(forked, write_recipe({**tree, "parallel": section}), out, processes, f"checkpoint.resume={saved}")
        ends_alike(tmp_path / "two", out)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")
def test_under_zero_each_process_writes_what_it_alone_holds(
    world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    """And torch's own reader makes the weights of the parts."""
    for stage in (1, 3):
        out = tmp_path / str(stage)
        run(forked, write_recipe(recipe(world, parallel={"engine": "deepspeed", "stage": stage})), out, 2)
        last = out / "checkpoints" / "step-00000008"
        for part, each in (("weights", 1), ("optimizer", 2)):
            shapes = json.loads((last / part / "shapes.json").read_text())
            held = [_numbers(file) for file in sorted((last / part).glob("*.safetensors"))]
            whole = sum(torch.Size(shape).numel() for shape in shapes.values())
            assert len(held) == 2 and sum(held) == whole == each * sum(one.numel() for one in weights(out).values())
            assert max(held) < 0.51 * whole
        flat = {name: torch.empty(one.numel()) for name, one in weights(out).items()}
        load(flat, storage_reader=HuggingFaceStorageReader(str(last / "weights")), no_dist=True)
        ours = checkpoint.load(last).weights
        for name, tensor in weights(out).items():
            assert torch.equal(flat[name].view(tensor.shape), tensor) and torch.equal(ours[name], tensor)


def _numbers(file: Path) -> int:
    with safe_open(file, framework="pt") as opened:
        return sum(opened.get_tensor(name).numel() for name in opened.keys())  # noqa: SIM118 - it is no mapping
