"""``luthier chat``, as a process that is talked to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import World


def talk(model: Path, lines: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "luthier", "chat", str(model), "--template", "chatml", "--max-new-tokens", "4"]
    return subprocess.run([*command, *words], input=lines, capture_output=True, text=True, timeout=300, check=False)


def test_questions_are_answered_and_commands_obeyed(world: World) -> None:
    said = talk(
        world.model,
        "Who?\n\n/retry\n/undo\n/clear\n/system Be brief.\nWho?\n"
        "/temperature warm\n/temperature 0.5\n/adapter off\n/what\n/quit\nno",
        "--system",
        "Be kind.",
    )
    assert said.returncode == 0, said.stderr
    answers = said.stdout.splitlines()
    assert len([line for line in answers if line]) >= 2 and answers[0] == answers[1]
    assert "from 0 to 10" in said.stderr and "no adapter" in said.stderr and "/undo" in said.stderr
    assert "no" not in answers[-1:]


def test_a_conversation_that_grows_too_long_says_so_and_goes_on(world: World) -> None:
    said = talk(world.model, "word " * 3000 + "\n/clear\nWho?\n")
    assert said.returncode == 0
    assert "positions for" in said.stderr and "Traceback" not in said.stderr
    assert said.stdout.strip()


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    said = talk(tmp_path, "Who?\n")
    assert said.returncode == 2 and "neither a finished run nor a model" in said.stderr
