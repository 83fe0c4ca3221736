"""A signal in any phase: its own exit code, a whole state, and the same command ends as if nothing had been."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from luthier.evaluate import generate as generation
from luthier.record.checkpoints import checkpoints, damage
from luthier.record.events import Answered, Evaluated, Finished, Saved, Stepped, effective, read_events
from luthier.train import built, checkpoint, ending, measure, prepare, result, run, session
from tests.conftest import World

Write = Callable[..., Path]
STEPS = 6


def tree(world: World, out: Path, **sections: Any) -> dict[str, Any]:
    sections["checkpoint"] = {"every": 4, **sections.get("checkpoint", {})}
    sections["evaluate"] = {"every": 2, "generate": True, **sections.get("evaluate", {})}
    return world.recipe(
        adapter={"kind": "lora", "rank": 2, "dropout": 0.1},
        data={
            "train": [{"path": str(world.questions)}],
            "evaluate": [{"path": str(world.held_out)}],
            "test": [{"path": str(world.held_out), "rows": 2}],
            "template": "chatml",
            "max_length": 96,
        },
        batch={"micro": 1, "steps": STEPS},
        output={"dir": str(out)},
        **sections,
    )


def train(recipe: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    from luthier.cli.app import main

    monkeypatch.setattr(sys, "argv", ["luthier", "train", str(recipe), *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    import yaml

    folder = tmp_path_factory.mktemp("whole")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(tree(world, folder / "run")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # as the tests, whose fixture comes after this one
        assert train(folder / "recipe.yaml", patch) == 0
    return folder / "run"


def after_calls(count: int, number: signal.Signals, real: Callable[..., Any]) -> Callable[..., Any]:
    """The real function; its call of that number is preceded by a signal to this process."""
    calls = 0

    def call(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), number)
        return real(*given, **named)

    return call


def weights(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = load_file(folder / "model" / "adapter_model.safetensors")
    return found


PHASES: dict[str, tuple[Any, str, int]] = {
    "preparing": (prepare, "prepare", 1),
    "preparing the evaluation rows": (prepare, "prepare", 2),
    "writing the plan down": (run, "_write_down", 1),
    "loading the model": (built, "build_model", 1),
    "comparing at the beginning": (built, "fingerprints", 1),
    "the first step": (session, "train", 1),
    "an evaluation in the run": (measure.Measure, "_heeding", 2),
    "the last evaluation": (measure.Measure, "_heeding", 6),
    "saving": (checkpoint, "save", 1),
    "the last save": (checkpoint, "save", 2),
    "writing the result": (ending, "save_result", 1),
    "verifying": (result, "replace_folder", 1),
    "answering afterwards": (generation, "_batch", 2),
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_signal_in_any_phase_stops_the_run_and_the_same_command_ends_it(
    phase: str,
    number: signal.Signals,
    whole: Path,
    world: World,
    tmp_path: Path,
    write_recipe: Write,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
) -> None:
    out = tmp_path / "run"
    recipe = write_recipe(tree(world, out))
    where, name, count = PHASES[phase]
    with monkeypatch.context() as patch:
        patch.setattr(where, name, after_calls(count, number, getattr(where, name)))
        assert train(recipe, patch) == 128 + number
    assert f"stopped by {number.name}" in capfd.readouterr().err
    assert all(damage(path) is None for path in checkpoints(out / "checkpoints"))
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)
    assert handlers == (signal.SIG_DFL, signal.SIG_DFL)
    assert train(recipe, monkeypatch) == 0
    expected, found = weights(whole), weights(out)
    assert expected.keys() == found.keys() and all(expected[key].equal(found[key]) for key in expected)
    events = effective(list(read_events(out / "events.jsonl")))
    reference = effective(list(read_events(whole / "events.jsonl")))
    assert isinstance(events[-1], Finished)
    for kind, value in ((Stepped, "loss"), (Evaluated, "loss"), (Answered, "metrics")):
        told = {one.step: getattr(one, value) for one in events if isinstance(one, kind)}
        assert told == {one.step: getattr(one, value) for one in reference if isinstance(one, kind)}


def test_what_an_interrupted_evaluation_owes_is_done_before_the_next_step(
    whole: Path, world: World, tmp_path: Path, write_recipe: Write, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    out = tmp_path / "run"
    recipe = write_recipe(tree(world, out))
    with monkeypatch.context() as patch:
        patch.setattr(measure.Measure, "_heeding", after_calls(2, signal.SIGINT, measure.Measure._heeding))
        assert train(recipe, patch) == 130
    assert "goes on from the checkpoint just saved" in capfd.readouterr().err
    events = list(read_events(out / "events.jsonl"))
    assert [one.step for one in events if isinstance(one, Saved)] == [2]
    assert not any(isinstance(one, Evaluated) for one in events)
    assert train(recipe, monkeypatch) == 0
    events = list(read_events(out / "events.jsonl"))
    order = [(type(one).__name__, one.step) for one in events if isinstance(one, Evaluated | Stepped)]
    assert order[:4] == [("Stepped", 1), ("Stepped", 2), ("Evaluated", 2), ("Stepped", 3)]


def test_a_run_without_checkpoints_saves_what_the_last_evaluation_interrupts(
    whole: Path, world: World, tmp_path: Path, write_recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    recipe = write_recipe(tree(world, out, checkpoint={"every": "never"}, evaluate={"every": "never"}))
    with monkeypatch.context() as patch:
        patch.setattr(measure.Measure, "_heeding", after_calls(1, signal.SIGTERM, measure.Measure._heeding))
        assert train(recipe, patch) == 143
    assert [path.name for path in checkpoints(out / "checkpoints")] == [f"step-{STEPS:08d}"]
    assert train(recipe, monkeypatch) == 0
    assert all(weights(whole)[key].equal(one) for key, one in weights(out).items())


def test_a_checkpoint_is_saved_when_a_signal_or_a_file_asks_for_it(
    world: World, tmp_path: Path, write_recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    recipe = write_recipe(tree(world, out, checkpoint={"every": "never"}))
    asked = {2: lambda: os.kill(os.getpid(), signal.SIGUSR1), 4: lambda: (out / "save-now").touch()}
    real = session.Session._after

    def after(self: Any, event: Stepped) -> bool:
        asked.get(event.step, lambda: None)()
        return real(self, event)

    monkeypatch.setattr(session.Session, "_after", after)
    assert train(recipe, monkeypatch) == 0
    saved = [one.step for one in read_events(out / "events.jsonl") if isinstance(one, Saved)]
    assert saved == [2, 4, STEPS]
    assert not (out / "save-now").exists()


def test_an_asynchronous_save_is_that_of_its_step_and_ends_in_the_same_weights(
    whole: Path, world: World, tmp_path: Path, write_recipe: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    tree_ = tree(world, out, checkpoint={"every": 1, "keep_last": None, "asynchronous": True})
    assert train(write_recipe(tree_), monkeypatch) == 0
    assert all(damage(path) is None for path in checkpoints(out / "checkpoints"))
    assert len(checkpoints(out / "checkpoints")) == STEPS
    assert all(weights(whole)[key].equal(one) for key, one in weights(out).items())
    four = load_file(whole / "checkpoints" / "step-00000004" / "weights.safetensors")
    found = load_file(out / "checkpoints" / "step-00000004" / "weights.safetensors")
    assert all(four[key].equal(found[key]) for key in four)
