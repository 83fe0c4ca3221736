"""Damaged and unwritable places: what was whole stays whole, and the error says what to do."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from luthier.errors import CheckpointError, RunError
from luthier.recipe import Recipe
from luthier.record.checkpoints import checkpoints, damage, newest_whole, retire
from luthier.record.events import Saved, Stepped, Stopped, Warned, read_events
from luthier.record.folder import RunFolder
from luthier.train import checkpoint
from luthier.train.resume import decide, differences
from tests.conftest import World

Call = Callable[..., subprocess.CompletedProcess[str]]


def state(value: float = 1.0) -> checkpoint.State:
    return checkpoint.State(
        weights={"w": torch.full((4, 4), value)},
        optimizer={"w|step": torch.tensor(3.0)},
        random={"cpu": torch.get_rng_state()},
        progress={"step": 3},
    )


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, "step-00000003", state())
    found = checkpoint.load(path)
    assert damage(path) is None
    assert torch.equal(found.weights["w"], state().weights["w"])
    assert float(found.optimizer["w|step"]) == 3.0
    assert found.progress == {"step": 3}


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "optimizer.safetensors", "random.safetensors", "progress.json", "manifest.json"]
)
@pytest.mark.parametrize("how", ["flip", "truncate", "zero", "delete"])
def test_any_damaged_file_is_found_by_name_and_the_checkpoint_before_it_is_taken(
    name: str, how: str, tmp_path: Path
) -> None:
    before = checkpoint.save(tmp_path, "step-00000002", state())
    newest = checkpoint.save(tmp_path, "step-00000004", state(2.0))
    file = newest / name
    data = bytearray(file.read_bytes())
    if how == "flip":
        data[len(data) // 2] ^= 1
    elif how == "truncate":
        data = data[: len(data) // 2]
    else:
        data = bytearray(len(data))
    file.unlink() if how == "delete" else file.write_bytes(data)
    found, skipped = newest_whole(tmp_path)
    assert found == before
    assert len(skipped) == 1
    assert str(newest) in skipped[0]
    assert name in skipped[0] or name == "manifest.json"


def test_an_unfinished_save_is_no_checkpoint_and_is_swept_up(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, "step-00000002", state())
    (tmp_path / ".step-00000004.writing").mkdir()
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000002"]
    retire(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002"]


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        checkpoint.save(tmp_path, f"step-{step:08d}", state())
    retire(tmp_path, None)
    assert len(checkpoints(tmp_path)) == 3
    retire(tmp_path, 2)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000006", "step-00000004"]


def test_optimizer_state_of_other_parameters_is_refused() -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW([{"params": [model.weight], "names": ["weight"]}])
    with pytest.raises(CheckpointError, match="other"):
        checkpoint.restore_optimizer(optimizer, {"other|exp_avg": torch.zeros(2, 2)})


def small_files() -> None:
    """No file of this process may grow beyond 40 kB: a full disk, without one."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))


def test_a_full_disk_stops_no_training_and_keeps_what_was_saved(
    world: World, tmp_path: Path, write_recipe: Callable[..., Path], luthier: Call
) -> None:
    tree = world.recipe(batch={"steps": 6}, checkpoint={"every": 2}, output={"dir": str(tmp_path / "run")})
    recipe = write_recipe(tree)
    assert luthier("plan", recipe).returncode == 0
    ended = luthier("train", recipe, preexec_fn=small_files)
    events = list(read_events(tmp_path / "run" / "events.jsonl"))
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "could not be written" in ended.stderr
    assert "free disk space" in ended.stderr
    assert sum(isinstance(event, Stepped) for event in events) == 6
    assert sum(isinstance(event, Warned) for event in events) == 3
    assert not checkpoints(tmp_path / "run" / "checkpoints")
    again = luthier("train", recipe)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_a_failed_save_leaves_the_checkpoint_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, "step-00000002", state())
    monkeypatch.setattr(os, "replace", _full)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoint.save(tmp_path, "step-00000004", state())
    monkeypatch.undo()
    assert newest_whole(tmp_path)[0] == tmp_path / "step-00000002"


def _full(*args: object) -> None:
    raise OSError(28, "No space left on device")


def test_another_recipe_in_the_same_folder_is_refused_with_its_differences(world: World, tmp_path: Path) -> None:
    import yaml

    folder = RunFolder(tmp_path)
    before = Recipe.model_validate_json(json.dumps(world.recipe()))
    folder.recipe.write_text(yaml.safe_dump(before.tree()))
    now = Recipe.model_validate_json(json.dumps(world.recipe(optimizer={"lr": 0.5, "beta1": 0.5})))
    with pytest.raises(RunError) as caught:
        decide(now, folder)
    assert "optimizer.lr (was 0.001, now 0.5)" in str(caught.value)
    assert "optimizer.beta1" in str(caught.value)
    assert "checkpoint.resume=never" in str(caught.value)


def test_settings_that_do_not_change_what_is_learned_may_differ(world: World) -> None:
    before = Recipe().tree()
    for section, change in (("evaluate", {"every": 3}), ("checkpoint", {"keep_last": 9}), ("runtime", {"threads": 2})):
        assert differences(before, {**before, section: {**before[section], **change}}) == []
    assert differences(before, {**before, "seed": 1}) == ["seed (was 42, now 1)"]


def test_never_moves_the_old_run_aside_and_deletes_nothing(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("old\n")
    recipe = Recipe.model_validate_json(json.dumps({"checkpoint": {"resume": "never"}}))
    assert decide(recipe, RunFolder(tmp_path)).checkpoint is None
    kept = list(tmp_path.glob("before-*/events.jsonl"))
    assert [path.read_text() for path in kept] == ["old\n"]


def test_two_runs_never_share_a_folder(
    world: World, tmp_path: Path, write_recipe: Callable[..., Path], luthier: Call
) -> None:
    recipe = write_recipe(world.recipe(output={"dir": str(tmp_path / "run")}))
    with RunFolder(tmp_path / "run").claimed():
        second = luthier("train", recipe)
    assert second.returncode == 2
    assert "another run is writing here" in second.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_at_a_whole_checkpoint_and_the_same_command_goes_on(
    number: signal.Signals, world: World, tmp_path: Path, write_recipe: Callable[..., Path], luthier: Call
) -> None:
    tree = world.recipe(batch={"steps": 400}, checkpoint={"every": "never"}, output={"dir": str(tmp_path / "run")})
    recipe = write_recipe(tree)
    process = subprocess.Popen(
        [sys.executable, "-m", "luthier", "train", str(recipe)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    events = tmp_path / "run" / "events.jsonl"
    while not (events.exists() and b'"step"' in events.read_bytes().partition(b'"event": "step"')[2]):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "goes on from the checkpoint" in said
    saved = [event for event in read_events(events) if isinstance(event, Saved)]
    assert saved[-1].step < 400
    stopped = list(read_events(events))[-1]
    assert isinstance(stopped, Stopped)
    assert number.name in stopped.reason
    assert luthier("train", recipe).returncode == 0
    steps = [event.step for event in read_events(events) if isinstance(event, Stepped)]
    assert steps == list(range(1, 401))
