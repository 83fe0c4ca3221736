"""Whether checkpoints find room, and how many there will be."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from luthier.errors import RunError
from luthier.recipe import Recipe
from luthier.record.folder import RunFolder
from luthier.train.room import check_room, kept


def plan(steps: int = 100, per_epoch: int = 25) -> Any:
    return SimpleNamespace(steps=steps, steps_per_epoch=per_epoch, disk={"checkpoint": 10**9, "result": 5 * 10**8})


def recipe(**checkpoint: Any) -> Recipe:
    return Recipe.model_validate({"checkpoint": checkpoint})


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"every": 10, "keep_last": 2}, 3),
        ({"every": 10, "keep_last": None}, 10),
        ({"every": 30, "keep_last": None}, 4),
        ({"every": 50, "keep_last": 2}, 2),
        ({"every": 10, "keep_last": 2, "keep_every": 20}, 8),
        ({"every": "epoch", "keep_last": 9}, 4),
        ({"every": 0.5, "keep_last": 1}, 2),
        ({"every": "never"}, 0),
    ],
)
def test_checkpoints_that_lie_there_at_once_are_counted(settings: dict[str, Any], most: int) -> None:
    assert kept(recipe(**settings), plan()) == most


def test_a_long_run_is_counted_from_its_beginning() -> None:
    assert kept(recipe(every=1000, keep_last=None), plan(steps=1_000_000)) == pytest.approx(1000, abs=1)


@pytest.mark.parametrize(("free", "told"), [(4 * 10**9, ""), (2 * 10**9, "saves will fail"), (10**9, None)])
def test_a_disk_is_roomy_tight_or_too_small(
    free: int, told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    folder, settings = RunFolder(tmp_path / "a" / "b"), recipe(every=10, keep_last=2)
    if told is None:
        with pytest.raises(RunError, match=r"too little room: 1\.0 GB free"):
            check_room(settings, plan(), folder)
    else:
        assert told in check_room(settings, plan(), folder) and bool(told) == bool(check_room(settings, plan(), folder))


def test_checkpoints_that_lie_there_already_count_as_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3 * 10**9))
    monkeypatch.setattr("luthier.train.room.size_of", lambda path: 10**9)
    (tmp_path / "checkpoints" / "step-00000010").mkdir(parents=True)
    settings = recipe(every=10, keep_last=2)
    assert check_room(settings, plan(), RunFolder(tmp_path)) == ""
    assert check_room(settings, plan(), RunFolder(tmp_path / "other")) != ""
