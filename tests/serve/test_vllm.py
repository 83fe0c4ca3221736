"""The commands for vLLM: words that a shell and our own command line understand."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import typer

from luthier.cli.app import app
from luthier.serve.vllm import vllm_commands


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with an adapter in it, at a place that has to be quoted."""
    model = tmp_path / "my runs; rm -rf $HOME" / "model"
    model.mkdir(parents=True)
    (model / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    return model.parent


def words(run: Path, template: Path | None = None, port: int = 8000) -> list[list[str]]:
    return vllm_commands(run, run / "model", name="a name", host="127.0.0.1", port=port, template=template)


def test_an_adapter_is_merged_by_words_that_luthier_takes(run: Path) -> None:
    line = " && ".join(map(shlex.join, words(run)))
    first, second = ([*part] for part in _split(shlex.split(line)))
    assert first[:2] == ["luthier", "merge"]
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    read = command.commands["merge"].make_context("merge", first[2:]).params
    assert (read["adapter"], read["out"]) == (str(run), run / "merged")
    assert second[:3] == ["vllm", "serve", str(run / "merged")]
    assert second[3:] == ["--served-model-name", "a name", "--host", "127.0.0.1", "--port", "8000"]


def _split(line: list[str]) -> tuple[list[str], list[str]]:
    at = line.index("&&")
    return line[:at], line[at + 1 :]


def test_what_the_run_has_merged_is_served(run: Path) -> None:
    (run / "merged").mkdir()
    (run / "merged" / "config.json").write_text("{}")
    [one] = words(run, Path("/t/own.jinja"), port=0)
    assert one[:3] == ["vllm", "serve", str(run / "merged")] and "--port" not in one
    assert one[-2:] == ["--chat-template", "/t/own.jinja"]


def test_a_whole_model_needs_no_merge_and_added_tokens_cannot_be_served(run: Path) -> None:
    settings = run / "model" / "adapter_config.json"
    settings.write_text(json.dumps({"peft_type": "PROMPT_TUNING"}))
    assert words(run) == []
    settings.unlink()
    assert [one[2] for one in words(run)] == [str(run / "model")]
