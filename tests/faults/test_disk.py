"""Disks that are full, failing or read-only at any byte: training goes on, and what was whole stays whole."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from luthier.errors import CheckpointError, RunError
from luthier.recipe import Recipe
from luthier.record import checkpoints as files
from luthier.record import folder as places
from luthier.record.checkpoints import checkpoints, damage, newest_whole
from luthier.record.events import EventLog, Finished, Stepped, Warned, read_events
from luthier.record.folder import RunFolder
from luthier.train import checkpoint
from luthier.train.resume import decide
from tests.conftest import World
from tests.faults.dying import files_below
from tests.faults.test_boundaries import assert_of, save, state
from tests.train.test_interrupt import train

Write = Callable[..., Path]
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS)


def failing(number: int, after: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """The real function, that raises an error of the system from one of its calls on."""
    calls = 0

    def call(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(number, os.strerror(number))
        return real(*given, **named)

    return call


def _said_of_saving(folder: Path, step: int) -> str:
    try:
        checkpoint.save(folder, "step-00000002", state(step))
    except CheckpointError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("name", ["fsync", "replace", "mkdir"])
def test_a_save_that_fails_at_any_call_leaves_what_was_there(
    number: int, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 2)
    before = files_below(tmp_path / "step-00000002")
    for after in range(40):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing(number, after, getattr(os, name)))
            said = _said_of_saving(tmp_path, 3)
        if not said:
            break
        assert os.strerror(number) in said and "free disk space" in said
        files.put_back_all(tmp_path)
        found = files_below(tmp_path / "step-00000002")
        assert found == before or newest_whole(tmp_path)[0] is not None
        assert damage(tmp_path / "step-00000002") is None
    assert after > 0
    assert_of(tmp_path / "step-00000002", 3)


def test_a_disk_that_fills_at_any_byte_leaves_what_was_there(tmp_path: Path) -> None:
    """The limit on the size of files stands for it: writing beyond fails in any library, in any language."""
    save(tmp_path, 2)
    sizes = sorted({one.stat().st_size for one in (tmp_path / "step-00000002").iterdir()})
    for limit in sorted({0, 1, *(size + more for size in sizes for more in (-1, 0)), *range(0, sizes[-1], 997)}):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                save(tmp_path, 4)
            except CheckpointError:
                os._exit(3)
            finally:
                os._exit(0 if damage(tmp_path / "step-00000004") is None else 1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 3), limit
        assert_of(tmp_path / "step-00000002", 2)
        assert newest_whole(tmp_path)[0] == tmp_path / ("step-00000004" if code == 0 else "step-00000002")
        shutil.rmtree(tmp_path / "step-00000004", ignore_errors=True)
    assert code == 0


class Full:
    """A file that takes some bytes, and then for a while none."""

    def __init__(self, real: Any, room: int) -> None:
        self.real, self.room, self.name = real, room, real.name

    def write(self, data: bytes) -> int:
        taken = min(len(data), self.room)
        if not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= taken
        return int(self.real.write(data[:taken]))

    def fileno(self) -> int:
        return int(self.real.fileno())

    def close(self) -> None:
        self.real.close()


def test_events_wait_for_the_disk_and_none_is_lost_or_torn(tmp_path: Path) -> None:
    said: list[str] = []
    with EventLog(tmp_path / "e", said.append) as log:
        log._file = full = Full(log._file, 150)  # type: ignore[assignment]
        for step in range(20):
            if step == 12:
                full.room = 10**6
            log.write(Warned(step=step, message="x"))
            log.sync()
    assert [one.step for one in read_events(tmp_path / "e")] == list(range(20))
    assert len(said) == 1 and "No space left" in said[0]


def test_events_that_never_find_room_are_told_of(tmp_path: Path) -> None:
    said: list[str] = []
    with EventLog(tmp_path / "e", said.append) as log:
        log._file = Full(log._file, 0)  # type: ignore[assignment]
        log.write(Warned(step=1, message="x"))
    assert len(said) == 2 and "1 events could not be written" in said[1]


def tree(world: World, out: Path) -> dict[str, Any]:
    return world.recipe(
        adapter={"kind": "lora", "rank": 2},
        data={
            "train": [{"path": str(world.questions)}],
            "test": [{"path": str(world.held_out), "rows": 1}],
            "template": "chatml",
            "max_length": 96,
        },
        batch={"micro": 1, "steps": 4},
        checkpoint={"every": 1, "keep_last": 1},
        evaluate={"generate": True},
        output={"dir": str(out)},
    )


@pytest.fixture(scope="module")
def whole(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The weights of a run on a good disk."""
    import yaml

    folder = tmp_path_factory.mktemp("whole")
    (folder / "r.yaml").write_text(yaml.safe_dump(tree(world, folder / "run")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # as the tests, whose fixture comes after this one
        assert train(folder / "r.yaml", patch) == 0
    weights: dict[str, Any] = load_file(folder / "run" / "model" / "adapter_model.safetensors")
    return weights


@pytest.mark.parametrize("number", ERRORS)
def test_a_disk_that_fails_beside_the_saves_ends_no_run(
    number: int,
    whole: dict[str, Any],
    world: World,
    tmp_path: Path,
    write_recipe: Write,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
) -> None:
    """Every second save, all deletions of older checkpoints and the answers fail."""
    out, saves = tmp_path / "run", iter(range(100))
    real = files.put_in_place

    def sometimes(aside: Path, place: Path) -> None:
        if next(saves) % 2:
            raise OSError(number, os.strerror(number))
        real(aside, place)

    monkeypatch.setattr(checkpoint, "put_in_place", sometimes)
    monkeypatch.setattr("luthier.train.saver.retire", failing(number, 0, files.retire))
    monkeypatch.setattr("luthier.evaluate.measure.write_whole", failing(number, 0, places.write_whole))
    recipe = write_recipe(tree(world, out))
    assert train(recipe, monkeypatch) == 0
    assert "Traceback" not in capfd.readouterr().err
    events = list(read_events(out / "events.jsonl"))
    assert sum(isinstance(one, Stepped) for one in events) == 4
    told = " ".join(one.message for one in events if isinstance(one, Warned))
    assert "could not be written" in told and "could not be deleted" in told
    assert all(damage(path) is None for path in checkpoints(out / "checkpoints"))
    assert isinstance(events[-1], Finished)
    found = load_file(out / "model" / "adapter_model.safetensors")
    assert all(whole[key].equal(found[key]) for key in whole)


def test_a_disk_that_is_full_at_the_start_is_our_error(
    world: World, tmp_path: Path, write_recipe: Write, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr("luthier.train.run.write_json", failing(errno.ENOSPC, 0, places.write_json))
    assert train(write_recipe(tree(world, tmp_path / "run")), monkeypatch) == 2
    said = capfd.readouterr().err
    assert "No space left" in said and "free disk space" in said and "Traceback" not in said


def test_two_runs_moved_aside_in_one_second_and_a_clock_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "before-20200101-000000")
    recipe = Recipe.model_validate({"checkpoint": {"resume": "never"}})
    for number in range(3):
        (tmp_path / "events.jsonl").write_text(f"{number}\n")
        decide(recipe, RunFolder(tmp_path))
    assert sorted(path.read_text() for path in tmp_path.glob("before-*/events.jsonl")) == ["0\n", "1\n", "2\n"]


def test_a_clock_that_jumps_changes_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1e9, 5e8, 2e9, 0.0])
    monkeypatch.setattr(time, "time", lambda: next(moments))
    with EventLog(tmp_path / "e") as log:
        for step in range(3):
            log.write(Warned(step=step, message="x", at=time.time()))
    assert [one.step for one in read_events(tmp_path / "e")] == [0, 1, 2]


def test_a_hub_that_is_down_is_told_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from luthier.errors import ModelError
    from luthier.model.tokenizer import local_directory

    with pytest.raises(ModelError, match="neither a directory here nor to be had from the hub") as caught:
        local_directory("owner/name", None)
    assert "local directory" in str(caught.value)


def test_a_log_that_cannot_be_opened_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        EventLog(tmp_path)
