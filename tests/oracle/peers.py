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
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} names no Python")
    done = subprocess.run(
        [python, str(Path(__file__).parent / script)],
        input=json.dumps({"tokenizer": str(tokenizer), "cases": cases}),
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: list[dict[str, list[int]]] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer
