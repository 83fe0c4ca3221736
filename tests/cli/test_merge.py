"""``luthier merge``, on a run's folder, with the result in use."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from luthier.record.events import Finished, Saved, Warned, read_events
from tests.conftest import World

Run = Callable[..., Any]


@pytest.mark.slow
def test_a_run_is_merged_checked_and_speaks(world: World, tmp_path: Path, luthier: Run, write_recipe: Run) -> None:
    run, out = tmp_path / "run", tmp_path / "whole"
    tree = world.recipe(
        adapter={"kind": "lora", "rank": 4},
        quantise={"bits": 4},
        optimizer={"lr": 0.02},
        batch={"steps": 4},
        output={"dir": str(run), "merge": True},
    )
    assert luthier("train", write_recipe(tree)).returncode == 0
    saved = [event.path for event in read_events(run / "events.jsonl") if isinstance(event, Saved)]
    assert saved[-2:] == ["model", "merged"]
    done = luthier("merge", run, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["error"] < 1e-5 < told["effect"] and told["dtype"] == "float32"
    asked = ("--prompt", "Where does Mira live?", "--max-new-tokens", "8")
    assert luthier("generate", out, *asked).returncode == 0
    for weights in out.glob("*.safetensors"):
        assert (run / "merged" / weights.name).read_bytes() == weights.read_bytes()
    left = luthier("export", run, "--out", tmp_path / "bf16", "--kind", "merged", "--dtype", "bf16", "--ollama")
    assert left.returncode == 0, left.stderr
    assert "checked: its logits are" in left.stdout
    made = (tmp_path / "bf16" / "Modelfile").read_text()
    assert made.startswith('FROM .\nTEMPLATE """{{ range .Messages }}') and 'PARAMETER stop "<|im_end|>"' in made
    again = luthier("merge", run, "--out", out)
    assert again.returncode == 2 and "is not empty" in again.stderr


def merging_in_bf16(world: World, folder: Path, *, lr: float, steps: int, **output: Any) -> dict[str, Any]:
    """A LoRA recipe on a base in bf16, which merges at the end."""
    base = folder / "base"
    shutil.copytree(world.model, base)
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(base)
    return world.recipe(
        model={"path": str(base)},
        adapter={"kind": "lora", "rank": 4},
        optimizer={"lr": lr},
        batch={"steps": steps},
        output={"dir": str(folder / "run"), "merge": True, **output},
    )


@pytest.mark.parametrize("dtype", ["auto", "fp32", "fp16"])
def test_a_run_merges_into_the_type_that_its_recipe_asks_for(
    dtype: str, world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    run = tmp_path / "run"
    tree = merging_in_bf16(world, tmp_path, lr=0.05, steps=8, dtype=dtype)
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    expected = {"auto": torch.bfloat16, "fp32": torch.float32, "fp16": torch.float16}[dtype]
    kinds = {one.dtype for file in (run / "merged").glob("*.safetensors") for one in load_file(file).values()}
    assert kinds == {expected}
    assert AutoModelForCausalLM.from_pretrained(run / "merged", dtype="auto").dtype is expected


@pytest.mark.slow
def test_a_run_that_cannot_merge_is_finished_all_the_same(
    world: World, tmp_path: Path, luthier: Run, write_recipe: Run
) -> None:
    """In bf16, rounding drowns what four steps at next to no learning rate have learned."""
    run = tmp_path / "run"
    tree = merging_in_bf16(world, tmp_path, lr=1e-6, steps=4)
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    events = list(read_events(run / "events.jsonl"))
    assert isinstance(events[-1], Finished) and not (run / "merged").exists()
    [told] = [one.message for one in events if isinstance(one, Warned) and "not merged" in one.message]
    assert "rounding would drown it" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "nowhere: there is no such directory"),
        ((".",), "holds no adapter"),
        ((".", "--dtype", "int8"), "'int8' is no type of weights"),
    ],
)
def test_what_cannot_be_merged_is_told(words: tuple[str, ...], said: str, tmp_path: Path, luthier: Run) -> None:
    done = luthier("merge", *words, "--out", tmp_path / "out")
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
