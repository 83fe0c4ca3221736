"""The best evaluation: what counts as one, and that the result has its weights."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from luthier.errors import RunError
from luthier.recipe.evaluate import Evaluate
from luthier.record.events import Chosen, Evaluated, Finished, Warned, read_events
from luthier.train.best import note, out_of_patience
from luthier.train.work import Progress
from tests.conftest import World, write_csv

Call = Callable[..., "subprocess.CompletedProcess[str]"]
Write = Callable[..., Path]


def noted(values: list[float], settings: Evaluate, name: str = "loss") -> tuple[Progress, list[bool]]:
    progress, improved = Progress(), []
    for step, value in enumerate(values, 1):
        progress.step = step
        improved.append(note(progress, {name: value}, settings))
    return progress, improved


@pytest.mark.parametrize(
    ("values", "settings", "best", "step", "without"),
    [
        ([3.0, 2.0, 2.5], {}, 2.0, 2, 1),
        ([3.0, 2.95, 2.9], {"threshold": 0.2}, 3.0, 1, 2),
        ([3.0, 2.95, 2.7], {"threshold": 0.2}, 2.7, 3, 0),
        ([0.1, 0.5, 0.4], {"best_metric": "rouge-l", "higher_is_better": True}, 0.5, 2, 1),
        ([0.1, 0.5, 0.4], {"best_metric": "rouge-l"}, 0.1, 1, 2),
        ([float("nan"), 2.0], {}, 2.0, 2, 0),
        ([2.0, float("inf"), float("nan")], {}, 2.0, 1, 2),
        ([2.0, float("nan")], {}, 2.0, 1, 1),
    ],
)
def test_what_improves(values: list[float], settings: dict[str, Any], best: float, step: int, without: int) -> None:
    asked = Evaluate(patience=2, **settings)
    progress, _ = noted(values, asked, asked.best_metric)
    assert (progress.best, progress.best_step, progress.without_improvement) == (best, step, without)
    assert out_of_patience(progress, asked) == (without == 2)


def test_a_metric_that_is_not_measured_is_told_with_those_that_are() -> None:
    with pytest.raises(RunError, match="f1 is not among what is evaluated: loss, rouge-l"):
        note(Progress(), {"loss": 1.0, "rouge-l": 2.0}, Evaluate(best_metric="f1", keep_best=True))
    assert not note(Progress(), {"loss": 1.0}, Evaluate(best_metric="f1"))


def overfitted(world: World, folder: Path, **evaluate: Any) -> dict[str, Any]:
    """A run whose evaluation answers are nothing like its training answers, so that their loss rises."""
    rows = write_csv(folder.parent / "odd.csv", [("home", "Where does Mira live?", "%%% ### @@@ 777")])
    return world.recipe(
        data={"evaluate": [{"path": str(rows)}]},
        batch={"steps": 12},
        optimizer={"lr": 0.02},
        schedule={"kind": "constant"},
        evaluate={"every": 1, "keep_best": True, **evaluate},
        checkpoint={"every": 4, "keep_last": 1},
        output={"dir": str(folder)},
    )


@pytest.mark.slow
def test_the_result_is_the_best_and_its_checkpoint_outlives_the_others(
    world: World, tmp_path: Path, luthier: Call, write_recipe: Write
) -> None:
    out = tmp_path / "run"
    done = luthier("train", write_recipe(overfitted(world, out)))
    assert done.returncode == 0, done.stderr
    events = list(read_events(out / "events.jsonl"))
    losses = {event.step: event.loss for event in events if isinstance(event, Evaluated)}
    best = min(losses, key=lambda step: losses[step])
    assert best < 12, "the loss rose"
    chosen = next(event for event in events if isinstance(event, Chosen))
    assert (chosen.best_step, chosen.metric, chosen.value) == (best, "loss", losses[best])
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == [f"step-{best:08d}", "step-00000012"]
    saved = load_file(out / "checkpoints" / f"step-{best:08d}" / "weights.safetensors")
    result = load_file(out / "model" / "model.safetensors")
    assert all(torch.equal(result[name], tensor) for name, tensor in saved.items())
    measured = luthier("evaluate", out, "--data", tmp_path / "odd.csv", "--no-generate", "--json")
    assert json.loads(measured.stdout)["figures"]["loss"] == pytest.approx(losses[best], rel=1e-4)


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_best(
    world: World, tmp_path: Path, luthier: Call, write_recipe: Write
) -> None:
    out = tmp_path / "run"
    recipe = write_recipe(overfitted(world, out))
    assert luthier("train", recipe).returncode == 0
    before = load_file(out / "model" / "model.safetensors")
    lines = (out / "events.jsonl").read_text().splitlines()
    (out / "events.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    done = luthier("train", recipe)
    assert done.returncode == 0, done.stderr
    assert "going on from" in done.stdout
    after = load_file(out / "model" / "model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_a_damaged_best_checkpoint_is_said_and_the_last_weights_saved(
    world: World, tmp_path: Path, luthier: Call, write_recipe: Write
) -> None:
    out = tmp_path / "run"
    recipe = write_recipe(overfitted(world, out))
    assert luthier("train", recipe).returncode == 0
    events = list(read_events(out / "events.jsonl"))
    best = next(event.best_step for event in events if isinstance(event, Chosen))
    file = out / "checkpoints" / f"step-{best:08d}" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00\x01")
    lines = (out / "events.jsonl").read_text().splitlines()
    (out / "events.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    done = luthier("train", recipe)
    assert done.returncode == 0, done.stderr
    warned = [event.message for event in read_events(out / "events.jsonl") if isinstance(event, Warned)]
    assert any("best checkpoint" in message and "damaged" in message for message in warned)
    last = load_file(out / "checkpoints" / "step-00000012" / "weights.safetensors")
    result = load_file(out / "model" / "model.safetensors")
    assert all(torch.equal(result[name], tensor) for name, tensor in last.items())


def test_early_stopping_goes_by_a_metric_of_the_answers(
    world: World, tmp_path: Path, luthier: Call, write_recipe: Write
) -> None:
    """At a rate of next to nothing no answer is ever right, so that the second evaluation brings no improvement."""
    tree = overfitted(
        world,
        tmp_path / "run",
        best_metric="exact_match",
        higher_is_better=True,
        patience=2,
        every=2,
        generate_during=True,
        rows=2,
        generation={"max_new_tokens": 3},
    )
    tree["optimizer"] = {"lr": 1e-9}
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    events = list(read_events(tmp_path / "run" / "events.jsonl"))
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].step) == ("early stopping", 6)
    chosen = next(event for event in events if isinstance(event, Chosen))
    assert (chosen.best_step, chosen.metric, chosen.value) == (2, "exact_match", 0.0)
