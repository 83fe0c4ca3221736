"""Values of a recipe are values: no shell runs them, and a stranger's file names no code to import."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from luthier.dialects import read
from luthier.train.slurm import Job, script
from tests.conftest import World
from tests.security.conftest import Call, code

Write = Callable[..., Path]
COMMANDS = ("; touch {}", "$(touch {})", "`touch {}`", "| touch {}", "\ntouch {}\n", "&& touch {} #", "%(touch {})s")


@pytest.mark.parametrize("form", COMMANDS)
def test_no_value_of_a_recipe_is_run(
    form: str, world: World, tmp_path: Path, marker: Path, write_recipe: Write, call: Call, capsys: Any
) -> None:
    evil = "x" + form.format(marker)
    tree = world.recipe(output={"dir": "run " + evil}, track={"name": evil, "project": evil, "tags": [evil]})
    tree["data"]["train"] = [{"path": evil}]
    tree["model"] = {"path": evil}
    for command in ("read", "plan", "train"):
        call(command, write_recipe(tree))
        assert "Traceback" not in capsys.readouterr().err
    assert not marker.exists()


@pytest.mark.parametrize("form", COMMANDS)
def test_no_word_of_a_batch_script_is_run_but_luthier(form: str, tmp_path: Path, marker: Path) -> None:
    """The script is run by a real shell, with a program in srun's place that tells what it was given."""
    word = f"output.dir=x{form.format(marker)}"
    text = script(("r.yaml", word), Job(processes=1))
    (tmp_path / "job.sh").write_text(text)
    (tmp_path / "srun").write_text('#!/bin/sh\nfor one in "$@"; do printf "%s\\0" "$one"; done\n')
    (tmp_path / "srun").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", tmp_path / "job.sh"], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert not marker.exists()
    assert done.stdout.split("\0")[-2] == word


AXOLOTL = {
    "base_model": "a/b",
    "datasets": [{"path": "rows.jsonl", "type": "alpaca"}],
    "micro_batch_size": 1,
    "num_epochs": 1,
    "sequence_len": 128,
}


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "strange:build"},
        {"lr_scheduler": "strange:build"},
        {"datasets": [{"path": "rows.jsonl", "type": "strange:build"}]},
        {"rl": "strange:build"},
    ],
)
def test_another_systems_file_names_no_code(
    change: dict[str, Any], tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strange.py").write_text(code(marker))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({**AXOLOTL, **change}))
    reading = read(tmp_path / "a.yaml", dialect="axolotl")
    assert reading.refusals()
    assert not marker.exists()


def test_code_that_a_foreign_file_names_is_refused_with_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from luthier.registry import TABLES

    monkeypatch.setitem(TABLES["dialects"], "toy", "tests.security.test_recipes:TOY")
    (tmp_path / "t.yaml").write_text("step_by: strange:build\nrows: r.jsonl\n")
    refused = read(tmp_path / "t.yaml", dialect="toy").refusals()
    told = [one for one in refused if "names code" in one.reason]
    assert len(told) == 1 and "optimizer.kind=strange:build" in told[0].remedy
    said = read(tmp_path / "t.yaml", ["optimizer.kind=strange:build"], dialect="toy").refusals()
    assert not any("names code" in one.reason for one in said)


def _toy() -> Any:
    from luthier.dialects.table import Key
    from luthier.dialects.tabular import TableDialect

    return TableDialect(name="toy", rows=(Key("step_by", "optimizer.kind"), Key("rows", "data.train.0.path")))


TOY = _toy()


def test_reading_and_explaining_import_no_code_of_a_recipe(
    tmp_path: Path, marker: Path, world: World, write_recipe: Write, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strange.py").write_text(code(marker))
    monkeypatch.syspath_prepend(str(tmp_path))
    recipe = write_recipe(world.recipe(optimizer={"kind": "strange:build"}))
    for command in ("read", "explain"):
        call(command, recipe)
    assert not marker.exists()


def test_a_link_in_a_folder_of_rows_leads_to_no_other_folder(tmp_path: Path) -> None:
    from luthier.data.source import files_of
    from luthier.recipe.source import Source

    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "p.jsonl").write_text("{}\n")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "r.jsonl").write_text("{}\n")
    (tmp_path / "rows" / "link").symlink_to(tmp_path / "private")
    assert files_of(Source(path=str(tmp_path / "rows"))) == [tmp_path / "rows" / "r.jsonl"]
