"""kill -9 at every file boundary, and at a hundred random moments, of whatever writes what a run must not lose."""

from __future__ import annotations

import os
import random
import time
from itertools import count
from pathlib import Path

import pytest
import torch

from luthier.recipe.checkpoint import Checkpoint
from luthier.record.checkpoints import (
    checkpoints,
    damage,
    newest_whole,
    put_back,
    put_back_all,
    replace_folder,
    retire,
)
from luthier.record.events import EventLog, Warned, read_events
from luthier.record.folder import write_whole
from luthier.train import checkpoint
from luthier.train.ranks import Ranks
from luthier.train.saver import Saver
from tests.conftest import World
from tests.faults.dying import at_each_boundary, files_below, killed_after
from tests.security.test_code import adapter_on


def state(step: int) -> checkpoint.State:
    return checkpoint.State(
        weights={"w": torch.full((64, 64), float(step))},
        optimizer={"w|exp_avg": torch.full((64, 64), -float(step))},
        random={"cpu": torch.get_rng_state()},
        progress={"step": step},
    )


def save(folder: Path, step: int) -> None:
    checkpoint.save(folder, f"step-{step:08d}", state(step))


def assert_of(path: Path, step: int) -> None:
    found = checkpoint.load(path)
    assert damage(path) is None and found.progress == {"step": step}
    assert torch.equal(found.weights["w"], state(step).weights["w"])


def test_a_save_that_dies_anywhere_leaves_the_checkpoint_before_it_or_itself(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    save(folder, 2)
    for calls in at_each_boundary(lambda: save(folder, 4)):
        assert calls < 200
        newest, skipped = newest_whole(folder)
        assert newest is not None and not skipped
        assert_of(newest, int(newest.name[-8:]))
        assert (folder / "step-00000002").is_dir()
    assert calls > 8
    assert newest_whole(folder)[0] == folder / "step-00000004"


def test_saving_a_step_again_never_loses_it(tmp_path: Path) -> None:
    """A run that goes on may save the step that it went on from: the new one takes the place of the one there is."""
    save(tmp_path, 2)
    for calls in at_each_boundary(lambda: checkpoint.save(tmp_path, "step-00000002", state(7))):
        assert calls < 200
        put_back_all(tmp_path)
        newest, skipped = newest_whole(tmp_path)
        assert newest == tmp_path / "step-00000002" and not skipped
        assert_of(newest, checkpoint.load(newest).progress["step"])
    assert calls > 8
    assert_of(tmp_path / "step-00000002", 7)


def test_retiring_never_touches_what_is_kept(tmp_path: Path) -> None:
    for step in range(2, 12, 2):
        save(tmp_path, step)
    os.rename(tmp_path / "step-00000010", tmp_path / ".step-00000010.writing")
    for _ in at_each_boundary(lambda: retire(tmp_path, 1, spare=2, every=4)):
        assert all(damage(path) is None for path in checkpoints(tmp_path))
        assert {2, 4, 8} <= {int(path.name[-8:]) for path in checkpoints(tmp_path)}
    assert [int(path.name[-8:]) for path in checkpoints(tmp_path)] == [8, 4, 2]
    assert all(not path.name.startswith(".") for path in tmp_path.iterdir())


def test_a_replaced_result_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    place, aside = tmp_path / "model", tmp_path / ".model.writing"
    place.mkdir()
    (place / "a").write_text("old")

    def work() -> None:
        aside.mkdir(exist_ok=True)
        (aside / "a").write_text("new")
        replace_folder(aside, place)

    for _ in at_each_boundary(work):
        put_back(place)
        assert files_below(place) in ({"a": b"old"}, {"a": b"new"})
    assert files_below(place) == {"a": b"new"}
    assert not (tmp_path / ".model.earlier").exists()


def test_a_small_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    for _ in at_each_boundary(lambda: write_whole(tmp_path / "x", "new")):
        assert (tmp_path / "x").read_text() in ("old", "new")
    assert (tmp_path / "x").read_text() == "new"


def test_a_merge_that_dies_leaves_nothing_or_a_whole_model(world: World, tmp_path: Path) -> None:
    from luthier.model.load import open_model
    from luthier.model.merge import merge

    adapter, out = adapter_on(world.model, tmp_path / "adapter"), tmp_path / "merged"
    for calls in at_each_boundary(lambda: merge(adapter, out)):
        assert calls < 200
        if out.exists():
            open_model(out, "sdpa", "auto")
    assert calls > 1 and out.exists()


def _save_for_ever(folder: Path, asynchronous: bool) -> None:
    settings = Checkpoint(keep_last=2, keep_every=8, asynchronous=asynchronous)
    saver = Saver(folder, settings, Ranks())
    newest, _ = newest_whole(folder)
    first = int(newest.name[-8:]) + 1 if newest else 1
    for step in count(first):
        one = state(step)
        saver.begin(step, one, spare=None)
        one.weights["w"].fill_(-1.0)  # training goes on
        saver.taken(wait=True)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_fifty_kills_at_random_moments_of_saving(asynchronous: bool, tmp_path: Path) -> None:
    begun = time.monotonic()
    save(tmp_path / "one", 1)
    usual = time.monotonic() - begun
    chance, before = random.Random(8), 0
    for _ in range(50):
        # As likely in one place of a save as in another, however slow the machine is.
        killed_after((0.5 + 3 * chance.random()) * usual, lambda: _save_for_ever(tmp_path, asynchronous))
        put_back_all(tmp_path)
        newest, skipped = newest_whole(tmp_path)
        assert not skipped
        step = int(newest.name[-8:]) if newest else 0
        assert step >= before, "a checkpoint that was there is gone"
        if newest:
            assert_of(newest, step)
        before = step
    assert before > 0
    kept = {int(path.name[-8:]) for path in checkpoints(tmp_path)}
    assert set(range(8, before - 3, 8)) <= kept


def test_a_log_that_dies_anywhere_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    path, chance = tmp_path / "events.jsonl", random.Random(3)

    def write() -> None:
        with EventLog(path) as log:
            for number in count():
                log.write(Warned(step=number, message="x" * 5000))

    for _ in range(10):
        killed_after(chance.random() * 0.01, write)
        if path.exists():
            with path.open("ab") as file:
                file.write(b'{"event": "warned", "st')
            EventLog(path).__exit__(None, None, None)
            assert all(isinstance(one, Warned) for one in read_events(path))
            assert path.read_bytes().endswith(b"\n") or not path.read_bytes()
