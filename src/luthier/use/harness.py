"""Benchmarks of EleutherAI's lm-evaluation-harness, which is run as the command that it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from luthier.errors import MissingPackage, RunError
from luthier.model.adapter_files import SETTINGS, result_directory
from luthier.model.save import base_of

STDERR = 2
"""Where the harness talks; what the command itself found goes to standard output."""


def command_of(path: Path, tasks: Sequence[str], out: Path) -> list[str]:
    """The harness's command line for a run's result, or a model: an adapter goes with the base that it names.

    Raises:
        ModelError: there is no result, or its base is not there.
        RunError: a path cannot stand among the harness's arguments.
    """
    directory = result_directory(path).resolve()
    given = {"pretrained": str(directory)}
    if (directory / SETTINGS).exists():
        given = {"pretrained": str(base_of(directory).resolve()), "peft": str(directory), "tokenizer": str(directory)}
    odd = [one for one in given.values() if "," in one or "=" in one]
    if odd:
        raise RunError("the harness splits its arguments at , and =", place=odd[0], remedy="move it to another path")
    return [
        *(sys.executable, "-m", "lm_eval"),
        *("--model", "hf"),
        *("--model_args", ",".join(f"{name}={value}" for name, value in given.items())),
        *("--tasks", ",".join(tasks)),
        *("--device", "cuda" if torch.cuda.is_available() else "cpu"),
        *("--batch_size", "auto" if torch.cuda.is_available() else "1"),
        *("--output_path", str(out)),
    ]


def benchmarks(path: Path, tasks: Sequence[str], out: Path) -> dict[str, Any]:
    """Run the harness on a result; its own JSON files stay in ``out``, and the newest one's results are returned.

    Raises:
        MissingPackage: the harness is not installed.
        RunError: it failed, or left no results.
    """
    if find_spec("lm_eval") is None:
        raise MissingPackage("needs lm-evaluation-harness", place="--tasks", remedy="pip install lm-eval")
    out.mkdir(parents=True, exist_ok=True)
    there = set(out.rglob("results*.json"))
    code = subprocess.run(command_of(path, tasks, out), stdout=STDERR, check=False).returncode  # noqa: S603 - a list, no shell
    if code:
        raise RunError(f"lm_eval ended with {code}", place="--tasks", remedy="see what it said above")
    made = sorted(set(out.rglob("results*.json")) - there, key=lambda one: one.stat().st_mtime)
    if not made:
        raise RunError("lm_eval left no results", place=str(out), remedy="see what it said above")
    results: dict[str, Any] = json.loads(made[-1].read_text(encoding="utf-8")).get("results", {})
    return results
