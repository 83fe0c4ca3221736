"""``luthier plan``: what a run will be, before a weight is loaded."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from luthier.plan.plan import Plan
from tests.conftest import World

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Write = Callable[..., Path]


def test_plan_prints_every_figure_as_json(luthier: Run, write_recipe: Write, world: World) -> None:
    done = luthier("plan", write_recipe(world.recipe()), "batch.epochs=3", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert list(told) == [*(field.name for field in fields(Plan)), "engine", "refused"]
    assert (told["exact"], told["documents"], told["epochs"], told["refused"]) == (True, 18, 3.0, [])
    assert told["steps"] == 3 * told["steps_per_epoch"]


def test_plan_shows_people_the_same_figures(luthier: Run, write_recipe: Write, world: World) -> None:
    path = write_recipe(world.recipe())
    told = json.loads(luthier("plan", path, "--json").stdout)
    done = luthier("plan", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{told['parameters']['total']:,}" in done.stdout
    assert f"{told['steps']:,}: 2.00 epochs of {told['steps_per_epoch']}" in done.stdout
    assert "there are no evaluation rows" in " ".join(done.stdout.split())


def test_plan_makes_no_folder(luthier: Run, write_recipe: Write, world: World, tmp_path: Path) -> None:
    luthier("plan", write_recipe(world.recipe(output={"dir": str(tmp_path / "run")})))
    assert not (tmp_path / "run").exists()


def test_plan_names_what_is_not_there_yet_beside_the_plan(luthier: Run, write_recipe: Write, world: World) -> None:
    path = write_recipe(world.recipe(optimizer={"kind": "nothing"}, parallel={"tensor": 2}))
    told = luthier("plan", path, "--json")
    assert told.returncode == 2
    kind, sharing = json.loads(told.stdout)["refused"]
    assert kind.startswith("optimizer.kind: ")
    line = path.read_text(encoding="utf-8").splitlines().index("  tensor: 2") + 1
    assert sharing.startswith(f"{path}:{line}: parallel.tensor (parallel): ")
    shown = luthier("plan", path)
    assert shown.returncode == 2
    assert "refused optimizer.kind: 'nothing' is not there" in shown.stdout and "steps" in shown.stdout


def test_plan_tells_what_is_not_there_yet_also_where_there_can_be_no_plan(
    luthier: Run, write_recipe: Write, world: World
) -> None:
    rows = [{"path": str(world.root / "gone.jsonl"), "format": "alpacca"}]
    done = luthier("plan", write_recipe(world.recipe(data={"train": rows}, parallel={"tensor": 2})))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("luthier: data.format: 'alpacca' is not there\n  -> did you mean alpaca?\n")
    assert ": parallel.tensor (parallel): sharing out a matrix" in done.stderr
    assert "gone.jsonl: there is no such file" in done.stderr and "Traceback" not in done.stderr


def test_plan_tells_a_missing_model_without_a_traceback(luthier: Run, write_recipe: Write, world: World) -> None:
    done = luthier("plan", write_recipe(world.recipe(model={"path": "/no/such/model"})))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("luthier: /no/such/model: there is no such directory")
    assert "Traceback" not in done.stderr
