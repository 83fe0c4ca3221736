"""Other systems, asked in a Python of their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest


def asked(script: str, variable: str, tokenizer: Path, cases: list[dict[str, Any]]) -> list[dict[str, list[int]]]:
    """Ids and labels of each case; the test is skipped where ``variable`` names no Python that has the system."""
    answer: list[dict[str, list[int]]] = json.loads(
        said(script, variable, {"tokenizer": str(tokenizer), "cases": cases})
    )
    return answer


def said(script: str, variable: str, question: Any) -> str:
    """The last line that the script writes when asked; skipped as above."""
    return _run(variable, [script], json.dumps(question)).strip().splitlines()[-1]


def answers_of(script: str, variable: str, jobs: list[dict[str, Any]], folder: Path) -> list[Any]:
    """The answer to each job, through files in ``folder``; the test is skipped where there is nobody to ask."""
    order, answer = folder / "order.json", folder / "answer.json"
    order.write_text(json.dumps(jobs), encoding="utf-8")
    _run(variable, [script, str(order), str(answer)])
    found: list[Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def _run(variable: str, words: list[str], given: str = "") -> str:
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} names no Python")
    quiet = {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [python, str(Path(__file__).parent / words[0]), *words[1:]],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | quiet,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
