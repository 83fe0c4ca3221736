"""``luthier inspect``: of a directory, a recipe and a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.conftest import World

Run = Callable[..., Any]


@pytest.mark.slow
def test_a_directory_is_shown_for_people_and_programs(world: World, luthier: Run) -> None:
    shown, told = luthier("inspect", world.model), luthier("inspect", world.model, "--json")
    assert shown.returncode == told.returncode == 0, shown.stderr + told.stderr
    [structure] = json.loads(told.stdout)
    assert structure["architecture"] == "llama" and structure["title"] == "as stored"
    assert "model.layers.0..1.mlp.up_proj.weight" in shown.stdout
    assert f"{structure['totals']['all']['parameters']:,}" in shown.stdout
    every = luthier("inspect", world.model, "--all").stdout
    assert "model.layers.1.mlp.up_proj.weight" in every and ".0..1." not in every


@pytest.mark.slow
def test_a_recipe_is_shown_before_and_after(world: World, luthier: Run, write_recipe: Run) -> None:
    path = write_recipe(world.recipe(adapter={"kind": "lora", "rank": 4}, quantise={"bits": 4}))
    before, after = json.loads(luthier("inspect", path, "--json").stdout)
    assert before["totals"]["all"]["trained"] == before["totals"]["all"]["parameters"]
    plan = json.loads(luthier("plan", path, "--json").stdout)["parameters"]
    assert before["totals"]["all"]["parameters"] == plan["total"]
    assert after["totals"]["all"]["trained"] == plan["trainable"]
    assert {one["quantised"] for one in after["parameters"]} == {"", "nf4"}
    words = json.loads(luthier("inspect", path, "quantise.bits=16", "adapter.rank=2", "--json").stdout)[1]
    assert words["totals"]["all"]["trained"] == plan["trainable"] // 2


@pytest.mark.slow
def test_a_run_is_shown_as_it_trained(world: World, tmp_path: Path, luthier: Run, write_recipe: Run) -> None:
    run = tmp_path / "run"
    tree = world.recipe(adapter={"kind": "prefix"}, batch={"steps": 1}, output={"dir": str(run)})
    assert luthier("train", write_recipe(tree)).returncode == 0
    _, after = json.loads(luthier("inspect", run, "--json").stdout)
    assert [one["name"] for one in after["parameters"] if one["trains"]] == ["prompt_encoder.embedding.weight"]
    [saved] = json.loads(luthier("inspect", run / "model", "--json").stdout)
    assert saved["totals"]["all"]["parameters"] == after["totals"]["all"]["trained"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "sections",
    [
        {"output": {"merge": True}},
        {"quantise": {"bits": 4, "compute": "fp32"}},
        {"tokenizer": {"added_special": ["<|u|>", "<|a|>"]}},
    ],
    ids=["merged", "quantised", "new tokens"],
)
def test_a_finished_run_and_its_results_are_shown(
    sections: dict[str, Any], world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    """What inspect says trains is what lies in the checkpoint, number by number, and what it says of a result is what
    lies there."""
    run = tmp_path / "run"
    tree = world.recipe(adapter={"kind": "lora", "rank": 4}, batch={"steps": 1}, **sections)
    tree["output"] = {"dir": str(run), **sections.get("output", {})}
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    before, after = json.loads(luthier("inspect", run, "--json").stdout)
    trained = {one["name"]: one["shape"] for one in after["parameters"] if one["trains"]}
    held = load_file(next((run / "checkpoints").glob("step-*")) / "weights.safetensors")
    assert trained == {name.replace(".default", ""): list(one.shape) for name, one in held.items()}
    codes = {one["quantised"] for one in after["parameters"] if "_proj" in one["name"] and not one["trains"]}
    assert codes == {"nf4" if "quantise" in sections else ""}
    rows = [shape[0] for name, shape in trained.items() if "trainable_tokens" in name]
    assert set(rows) == ({2} if "tokenizer" in sections else set())
    [saved] = json.loads(luthier("inspect", run / "model", "--json").stdout)
    assert saved["architecture"] == "adapter"
    assert saved["totals"]["all"]["parameters"] == after["totals"]["all"]["trained"]
    if "output" in sections:
        [merged] = json.loads(luthier("inspect", run / "merged", "--json").stdout)
        shapes = [{one["name"]: one["shape"] for one in told["parameters"]} for told in (merged, before)]
        assert shapes[0] == shapes[1] and merged["architecture"] == "llama"
    shown = luthier("inspect", run)
    assert (
        shown.returncode == 0
        and "attention" in shown.stdout
        and f"{after['totals']['all']['trained']:,}" in shown.stdout
    )


def test_what_is_neither_is_told(tmp_path: Path, luthier: Run) -> None:
    done = luthier("inspect", tmp_path)
    assert done.returncode == 2 and "neither a run nor a model" in done.stderr and "Traceback" not in done.stderr
