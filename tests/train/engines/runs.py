"""Whole runs of one recipe in one process and in several, and what they left behind."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from luthier.record.checkpoints import damage
from tests.conftest import World, make_model
from tests.processes import Forked

SHARED = {
    "data": {"max_length": 64},
    "batch": {"micro": 1, "accumulation": 2, "world": 2, "steps": 8, "epochs": 6},
    "evaluate": {"every": 2, "at_start": True},
    "checkpoint": {"every": 2, "keep_last": None},
    "optimizer": {"lr": 1e-3, "weight_decay": 0.1},
}
"""Three steps an epoch, the last of which has one micro-batch, so that one of two processes has one too few."""

ADAPTED = {"adapter": {"kind": "lora", "rank": 4, "dropout": 0.1}}
"""An adapter whose dropout draws from each process's own generator."""


def recipe(world: World, **sections: Any) -> dict[str, Any]:
    tree = world.recipe(**{name: dict(section) for name, section in SHARED.items()})
    tree["data"] |= {"evaluate": [{"path": str(world.held_out)}]}
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section}
    return tree


def quantised(world: World, root: Path, storage: str) -> dict[str, Any]:
    """Sections of a QLoRA recipe whose rows of weights a CPU reads rightly."""
    model = Path(shutil.copytree(world.model, root / "wide"))
    make_model(model, 400, hidden_size=64, intermediate_size=128)
    return {
        "model": {"path": str(model)},
        "adapter": {"kind": "lora", "rank": 4},
        "quantise": {"bits": 4, "storage": storage},
        "optimizer": {"lr": 1e-2},
    }


def run(forked: Forked, file: Path, out: Path, processes: int, *words: str) -> str:
    """Run it; what it said on standard output."""
    ended = forked("train", file, f"output.dir={out}", *words, cwd=file.parent, processes=processes)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout


_ALONE: dict[str, Path] = {}


def alone(forked: Forked, tree: dict[str, Any]) -> Path:
    """The folder of the same recipe's run in one process, which tests share: nothing there is shared out."""
    plain = {name: section for name, section in tree.items() if name != "parallel"}
    key = json.dumps(plain, sort_keys=True)
    if key not in _ALONE:
        root = Path(tempfile.mkdtemp(dir=tree["output"]["dir"].rpartition("/runs/")[0]))
        (root / "recipe.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")
        run(forked, root / "recipe.yaml", root / "run", 1)
        _ALONE[key] = root / "run"
    return _ALONE[key]


def goes_on_identically(forked: Forked, file: Path, out: Path, step: int) -> None:
    """A run that was stopped after a step and goes on ends as the one that was not, bit for bit."""
    again = interrupted(out, out.with_name(f"again-{step}"), step)
    assert "going on from" in run(forked, file, again, 2)
    assert identical(out, again)
    assert figures(again)[-3:] == figures(out)[-3:]


def figures(out: Path) -> list[tuple[str, int, float, float]]:
    """(event, step, loss, gradient norm) of steps and evaluations, in their order."""
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    return [
        (one["event"], one["step"], one["loss"], one.get("gradient_norm", 0.0))
        for one in events
        if one["event"] in ("step", "evaluated")
    ]


def assert_alike(one: Path, other: Path, close: float = 1e-5) -> None:
    """The same steps, evaluations and result, within rounding."""
    ours, theirs = figures(one), figures(other)
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    torch.testing.assert_close(
        torch.tensor([row[2:] for row in ours]), torch.tensor([row[2:] for row in theirs]), rtol=close, atol=close
    )
    mine, yours = weights(one), weights(other)
    assert mine.keys() == yours.keys()
    for name, tensor in mine.items():
        torch.testing.assert_close(tensor, yours[name], rtol=1e-4, atol=close)


def ends_alike(one: Path, other: Path) -> None:
    """The last steps and the result of two runs are the same within rounding."""
    ours, theirs = (torch.tensor([row[2:] for row in figures(run)[-3:]]) for run in (one, other))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for name, tensor in weights(one).items():
        torch.testing.assert_close(tensor, weights(other)[name], rtol=1e-4, atol=1e-5)


def weights(out: Path) -> dict[str, torch.Tensor]:
    """A result's tensors; a whole model is one that plain transformers opens."""
    [file] = sorted((out / "model").glob("*.safetensors"))
    tensors = load_file(file)
    if (out / "model" / "config.json").exists():
        opened = AutoModelForCausalLM.from_pretrained(out / "model").state_dict()
        assert all(torch.equal(opened[name], tensor) for name, tensor in tensors.items())
    return tensors


def interrupted(out: Path, copy: Path, step: int) -> Path:
    """A copy of a finished run as it was after a checkpoint."""
    shutil.copytree(out, copy)
    shutil.rmtree(copy / "model")
    for path in (copy / "checkpoints").iterdir():
        assert damage(path) is None
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)
    lines = (copy / "events.jsonl").read_text().splitlines(keepends=True)
    (copy / "events.jsonl").write_text("".join(line for line in lines if '"finished"' not in line))
    return copy


def identical(one: Path, other: Path) -> bool:
    """Whether two results are the same bit for bit."""
    mine, yours = weights(one), weights(other)
    return mine.keys() == yours.keys() and all(torch.equal(tensor, yours[name]) for name, tensor in mine.items())
