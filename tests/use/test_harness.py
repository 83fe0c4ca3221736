"""lm-evaluation-harness is run as a command: a stand-in for it keeps the words that it was given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.errors import LuthierError
from luthier.use.harness import benchmarks, command_of
from tests.conftest import World

STAND_IN = """
import json, pathlib, sys
words = sys.argv[1:]
out = pathlib.Path(words[words.index("--output_path") + 1]) / "model"
out.mkdir(parents=True, exist_ok=True)
figures = {name: {"alias": name, "acc,none": 0.25} for name in words[words.index("--tasks") + 1].split(",")}
(out / "results_2026.json").write_text(json.dumps({"results": figures, "words": words}))
sys.exit(3 if "fail" in figures else 0)
"""


@pytest.mark.slow
def test_the_command_runs_it_and_keeps_its_files_in_the_run(adapted: Path, world: World, tmp_path: Path) -> None:
    (tmp_path / "path" / "lm_eval").mkdir(parents=True)
    (tmp_path / "path" / "lm_eval" / "__main__.py").write_text(STAND_IN)
    run = tmp_path / "run"
    shutil.copytree(adapted, run / "model")
    (run / "recipe.yaml").write_text("model: {path: some/model}\ndata: {train: [{path: rows.jsonl}]}\n")
    path = os.pathsep.join([str(tmp_path / "path"), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "luthier", "evaluate", str(run), "--tasks", "arc, mmlu", "--json"]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"]["mmlu"]["acc,none"] == 0.25
    words = json.loads((run / "lm_eval" / "model" / "results_2026.json").read_text())["words"]
    assert words[:2] == ["--model", "hf"] and words[words.index("--tasks") + 1] == "arc,mmlu"
    own = run / "model"
    assert words[words.index("--model_args") + 1] == f"pretrained={world.model},peft={own},tokenizer={own}"
    [kept] = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    assert kept["tasks"] == ["arc", "mmlu"] and kept["figures"]["arc"]["acc,none"] == 0.25


def test_a_whole_model_goes_alone(world: World, tmp_path: Path) -> None:
    words = command_of(world.model, ["arc"], tmp_path)
    assert words[words.index("--model_args") + 1] == f"pretrained={world.model}"
    assert words[words.index("--output_path") + 1] == str(tmp_path)


def test_without_it_the_line_that_installs_it_is_told(world: World, tmp_path: Path) -> None:
    with pytest.raises(LuthierError, match="pip install lm-eval"):
        benchmarks(world.model, ["arc"], tmp_path)


def test_paths_that_it_would_split_are_refused(world: World, tmp_path: Path) -> None:
    odd = tmp_path / "a,b"
    shutil.copytree(world.model, odd)
    with pytest.raises(LuthierError, match="splits its arguments"):
        command_of(odd, ["arc"], tmp_path)
    with pytest.raises(LuthierError, match="neither a finished run nor a model"):
        command_of(tmp_path, ["arc"], tmp_path)
