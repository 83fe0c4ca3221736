"""Whole runs with kernels switched on and off: the same losses, the same files, and resume across a change."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from luthier.model.attention import register
from luthier.model.kernels.apply import facts_of, put_kernels
from luthier.model.kernels.choose import choose
from luthier.recipe.validate import build
from tests.conftest import World
from tests.model.kernels.models import assert_same_training, tiny

ALL = {"rms_norm": "on", "rotary": "on", "fuse_qkv": "on", "fuse_mlp": "on"}
NONE = dict.fromkeys(ALL, "off")


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def losses(run: Path) -> dict[int, float]:
    return {one["step"]: one["loss"] for one in events(run) if one["event"] == "step"}


@pytest.mark.slow
def test_a_run_learns_the_same_and_goes_on_with_other_kernels(
    world: World,
    tmp_path: Path,
    write_recipe: Callable[..., Path],
    luthier: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    def train(name: str, kernels: dict[str, str]) -> Path:
        tree = world.recipe(
            runtime={"kernels": kernels},
            model={"attention": "sdpa"},
            batch={"steps": 6},
            checkpoint={"every": 3, "keep_last": 5},
            track={"every": 1},
            output={"dir": str(tmp_path / name)},
        )
        done = luthier("train", write_recipe(tree, f"{name}.yaml"))
        assert done.returncode == 0, done.stderr
        return tmp_path / name

    plain, fused = train("plain", {**NONE, "onednn": "off"}), train("fused", {**ALL, "onednn": "on"})
    assert losses(plain).keys() == losses(fused).keys() == set(range(1, 7))
    assert list(losses(fused).values()) == pytest.approx(list(losses(plain).values()), rel=1e-4)
    one, two = (load_file(run / "model" / "model.safetensors") for run in (plain, fused))
    assert {name: tensor.shape for name, tensor in one.items()} == {name: tensor.shape for name, tensor in two.items()}
    again, other = tmp_path / "again", tmp_path / "other"
    for run, kernels in ((again, ALL), (other, NONE)):
        shutil.copytree(fused, run)
        shutil.rmtree(run / "model")
        shutil.rmtree(run / "checkpoints" / "step-00000006")
        recipe = (run / "recipe.yaml").read_text().replace(str(fused), str(run))
        (run / "recipe.yaml").write_text(recipe)
        assert train(run.name, kernels) == run
        assert [one["resumed_from"] for one in events(run) if one["event"] == "started"][-1] is not None
    exact, near = (load_file(run / "model" / "model.safetensors") for run in (again, other))
    assert all(torch.equal(exact[name], tensor) for name, tensor in two.items())
    for name, tensor in two.items():
        torch.testing.assert_close(near[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    started = next(one for one in events(fused) if one["event"] == "started")
    assert started["environment"]["kernels"]["fuse_qkv"] == "on"
    told = luthier("inspect", fused).stdout
    assert "fuse_mlp: on (one matrix product in place of two)" in told and "attention: sdpa" in told


def test_everything_at_once_learns_the_same() -> None:
    base: dict[str, Any] = {"model": {"path": "m"}, "data": {"train": [{"path": "x"}]}}
    recipe = build({**base, "runtime": {"kernels": ALL}}, str)
    model, plain = tiny("llama"), tiny("llama")
    chosen = choose(recipe, facts_of(model, torch.device("cpu"), torch.bfloat16))
    assert [name for name, one in chosen.items() if one.name == "on"] == ["cross_entropy", *ALL]
    assert chosen["attention"].name == "blocks"
    assert_same_training(plain, put_kernels(model, recipe, chosen, torch.device("cpu")))


def test_facts_are_the_models_own(world: World) -> None:
    model = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation=register())
    here = facts_of(model, torch.device("cpu"), torch.float32)
    assert (here.device, here.compute, here.head, here.architecture) == ("cpu", "fp32", 8, "llama")
    assert {"q_proj", "up_proj"} <= here.layers
