"""Processes of several machines, all of them on this one: whose weights they hold, and the disk they need in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor

from luthier.environment import World as Place
from luthier.model.load import build_model
from luthier.recipe.validate import build
from luthier.train import run as whole_run
from luthier.train.engines.fsdp import FullyShared
from luthier.train.join import join
from tests.conftest import World
from tests.processes import Forked
from tests.train.engines.children import at_once, tampered
from tests.train.engines.runs import alone, assert_alike, figures, identical, interrupted, recipe

Write = Callable[..., Path]

HYBRID = {"engine": "fsdp", "stage": 3, "fsdp_config": {"hybrid": True}}


def test_under_hybrid_sharding_each_machine_holds_the_whole_once(world: World) -> None:
    made = build(recipe(world, parallel=HYBRID), str)

    def hold(place: Place) -> None:
        ranks = join(made, replace(place, local=place.rank % 2))
        built = build_model(made, 300, world.model)
        before = {name: one.detach().clone() for name, one in built.named_parameters()}
        engine = FullyShared(made, ranks)
        for name, one in engine.wrap(built).named_parameters():
            assert isinstance(one, DTensor), name
            assert one.device_mesh.mesh.tolist() == [[0, 1], [2, 3]]
            assert torch.equal(one.to_local(), before[name].chunk(2)[place.rank % 2])
        with engine.whole(built) as here:
            assert here == (place.rank == 0)
            assert not here or all(torch.equal(one, before[name]) for name, one in built.named_parameters())
        ranks.together("the end")
        ranks.part()

    assert at_once(4, hold) == [0] * 4


@pytest.mark.slow
def test_two_machines_of_two_train_as_one_process_does_and_go_on(
    world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    tree = recipe(world, parallel=HYBRID)
    file, out = write_recipe(tree), tmp_path / "four"
    places = [{"LOCAL_RANK": str(rank % 2)} for rank in range(4)]

    def trained(folder: Path) -> None:
        ended = forked("train", file, f"output.dir={folder}", cwd=tmp_path, processes=4, environments=places)
        assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr

    trained(out)
    assert_alike(alone(forked, tree), out)
    again = interrupted(out, tmp_path / "again", 4)
    trained(again)
    assert identical(out, again)
    assert figures(again)[-3:] == figures(out)[-3:]


def apart(root: Path) -> Callable[[int], None]:
    """Each process in a folder of its own, so that one relative path is two folders."""

    def tamper(rank: int) -> None:
        whole_run.DISK_PATIENCE = 1.0
        folder = root / f"machine-{rank}"
        folder.mkdir()
        os.chdir(folder)

    return tamper


@pytest.mark.slow
def test_machines_without_a_common_disk_are_told(world: World, write_recipe: Write, tmp_path: Path) -> None:
    file = write_recipe(recipe(world, output={"dir": "run"}))
    assert tampered(["train", str(file)], tmp_path, apart(tmp_path)) == [2, 2]
    for rank in range(2):
        said, out = (tmp_path / f"{rank}.txt").read_text(), tmp_path / f"machine-{rank}" / "run"
        assert f"{out}: processes 1 do not see what process 0 writes there" in said
        assert "set output.dir to a folder on a disk that all machines share" in said and "Traceback" not in said
    assert not list((tmp_path / "machine-0" / "run").glob(".shared-*"))
    assert not (tmp_path / "machine-1" / "run" / "events.jsonl").exists()


def shown_late(rank: int) -> None:
    """Let process 1 see the sign of process 0 at its third look alone, as over a network."""
    real, looks = Path.exists, 0

    def exists(path: Path, **named: Any) -> bool:
        nonlocal looks
        if rank == 1 and path.name.startswith(".shared-"):
            looks += 1
            return looks > 2 and real(path, **named)
        return real(path, **named)

    Path.exists = exists  # type: ignore[method-assign]


@pytest.mark.slow
def test_a_disk_that_shows_late_what_is_written_is_waited_for(
    world: World, write_recipe: Write, tmp_path: Path
) -> None:
    tree = recipe(world, batch={"steps": 1}, evaluate={"every": "never", "at_start": False})
    file = write_recipe(tree)
    codes = tampered(["train", str(file), f"output.dir={tmp_path / 'run'}"], tmp_path, shown_late)
    assert codes == [0, 0], (tmp_path / "0.txt").read_text()
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()
