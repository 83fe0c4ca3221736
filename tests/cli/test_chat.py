"""``luthier chat``, as a process that is talked to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from luthier.cli.app import app
from luthier.data.example import Message
from luthier.terminal import visible_lines
from luthier.use.conversation import Speaker
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


def told(model: Path, lines: str, *words: str) -> list[str]:
    """The lines that a conversation in this very process prints."""
    command = ["chat", str(model), "--template", "chatml", "--max-new-tokens", "6", *words]
    return CliRunner().invoke(app, command, input=lines, catch_exceptions=False).stdout.splitlines()


def test_the_adapter_is_switched_off_and_on_again(adapted: Path, world: World) -> None:
    with_it, without, again = told(adapted, "Who?\n/clear\n/adapter off\nWho?\n/clear\n/adapter on\nWho?\n")
    assert with_it == again != without
    assert told(world.model, "Who?\n") == [without] == told(adapted, "Who?\n", "--no-adapter")


def test_all_that_was_said_is_in_the_next_prompt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[Message], list[int]]] = []
    plain = Speaker.prompt

    def spied(speaker: Speaker, messages: Sequence[Message]) -> list[int]:
        seen.append((list(messages), plain(speaker, messages)))
        return seen[-1][1]

    monkeypatch.setattr(Speaker, "prompt", spied)
    answers = told(world.model, "Who?\nWhere?\n/undo\nWhen?\n/clear\nWhy?\n", "--system", "Be brief.")
    said = [[(one.role, one.content) for one in messages] for messages, _ in seen]
    before = [("system", "Be brief."), ("user", "Who?")]
    assert said[0] == before
    assert said[1][:2] == before and said[1][2][0] == "assistant" and said[1][3:] == [("user", "Where?")]
    assert "\n".join(answers).startswith(visible_lines(said[1][2][1]))
    assert said[2] == [*said[1][:3], ("user", "When?")]
    assert said[3] == [("system", "Be brief."), ("user", "Why?")]
    assert seen[1][1][: len(seen[0][1])] == seen[0][1], "the longer prompt begins with the ids of the shorter"
