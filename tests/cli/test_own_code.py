"""A module beside the recipe, through the installed command: found, imported before training, and no fault of it ends
the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.record.events import Answered, Stepped, Warned, read_events
from tests.conftest import World

CODE = """
from luthier.methods.causal import SupervisedFineTuning

def score(answer, reference):
    if "barn" in reference:
        raise ValueError("barns are beyond me")
    return float(len(reference))

class Method(SupervisedFineTuning):
    pass
"""


def installed(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The script that installing puts beside Python; neither the recipe's folder nor this one is on its path."""
    script = Path(sys.executable).with_name("luthier")
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    command = [str(script), *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=300, check=False)


@pytest.mark.slow
def test_a_module_beside_the_recipe_is_found(world: World, tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    (tmp_path / "beside.py").write_text(CODE)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    recipe = write_recipe(
        world.recipe(
            data={"test": [{"path": str(world.held_out)}]},
            method={"kind": "beside:Method"},
            evaluate={"generate": True, "metrics": ["beside:score"], "generation": {"max_new_tokens": 2}},
            batch={"steps": 1},
            output={"dir": str(tmp_path / "run")},
        )
    )
    done = installed("train", recipe, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    events = list(read_events(tmp_path / "run" / "events.jsonl"))
    [answered] = [one for one in events if isinstance(one, Answered)]
    rows = [json.loads(line) for line in (tmp_path / "run" / answered.file).read_text().splitlines()]
    lengths = [len(row["reference"]) for row in rows if "barn" not in row["reference"]]
    assert answered.metrics == {"beside:score": sum(lengths) / len(lengths)}
    [warned] = [one for one in events if isinstance(one, Warned) and "beside:score" in one.message]
    assert warned.message == "beside:score gave no figure for 1 row: ValueError: barns are beyond me"
    assert warned.rows == [row["origin"] for row in rows if "barn" in row["reference"]]
    assert warned.rows[0].endswith("held-out.csv:3") and warned.rows[0] in done.stdout


@pytest.mark.slow
def test_code_that_is_not_there_is_told_before_training(
    world: World, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    (tmp_path / "beside.py").write_text(CODE)
    recipe = write_recipe(
        world.recipe(
            data={"test": [{"path": str(world.held_out)}]},
            evaluate={"generate": True, "metrics": ["beside:scor"]},
            output={"dir": str(tmp_path / "run")},
        )
    )
    done = installed("train", recipe, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "'beside:scor' could not be loaded" in done.stderr and "evaluate" in done.stderr
    steps = tmp_path / "run" / "events.jsonl"
    assert not steps.exists() or not [one for one in read_events(steps) if isinstance(one, Stepped)]
