"""``luthier merge``, on a run's folder, with the result in use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import World

Run = Callable[..., Any]


@pytest.mark.slow
def test_a_run_is_merged_checked_and_speaks(world: World, tmp_path: Path, luthier: Run, write_recipe: Run) -> None:
    run, out = tmp_path / "run", tmp_path / "whole"
    tree = world.recipe(
        adapter={"kind": "lora", "rank": 4},
        quantise={"bits": 4},
        optimizer={"lr": 0.02},
        batch={"steps": 4},
        output={"dir": str(run)},
    )
    assert luthier("train", write_recipe(tree)).returncode == 0
    done = luthier("merge", run, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["error"] < 1e-5 < told["effect"] and told["dtype"] == "float32"
    asked = ("--prompt", "Where does Mira live?", "--max-new-tokens", "8")
    assert luthier("generate", out, *asked).returncode == 0
    again = luthier("merge", run, "--out", out)
    assert again.returncode == 2 and "is not empty" in again.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "nowhere: there is no such directory"),
        ((".",), "holds no adapter"),
        ((".", "--dtype", "int8"), "'int8' is no type of weights"),
    ],
)
def test_what_cannot_be_merged_is_told(words: tuple[str, ...], said: str, tmp_path: Path, luthier: Run) -> None:
    done = luthier("merge", *words, "--out", tmp_path / "out")
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
