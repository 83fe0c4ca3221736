"""``luthier explain`` tells what settings, keys and files mean, in two languages."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_startup import command, heavy_after
from tests.explain.files import FILES

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    name, text = FILES["axolotl"]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_key_is_explained_on_plain_lines(luthier: Run) -> None:
    done = luthier("explain", "lora_r")
    assert done.returncode == 0 and done.stderr == "" and "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "lora_r (Axolotl, PEFT sft) -> adapter.rank"
    assert "  what: Rank of the LoRA update." in lines and "  unit: dimensions" in lines


@pytest.mark.parametrize(
    ("lang", "words", "chinese"),
    [
        ("zh_CN.UTF-8", (), True),
        ("en_GB.UTF-8", (), False),
        ("C", (), False),
        ("zh_CN.UTF-8", ("--lang", "en"), False),
        ("en_GB.UTF-8", ("--lang", "zh"), True),
    ],
)
def test_the_language_is_the_environments_unless_it_is_named(
    luthier: Run, monkeypatch: pytest.MonkeyPatch, lang: str, words: tuple[str, ...], chinese: bool
) -> None:
    monkeypatch.setenv("LANG", lang)
    assert ("LoRA 更新矩阵的秩。" in luthier("explain", "lora_r", *words).stdout) is chinese


def test_without_a_language_it_is_english(luthier: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANG", raising=False)
    assert "Rank of the LoRA update." in luthier("explain", "lora_r").stdout


def test_there_are_two_languages(luthier: Run) -> None:
    assert luthier("explain", "lora_r", "--lang", "fr").returncode == 2


def test_json_is_for_programs(luthier: Run) -> None:
    (told,) = json.loads(luthier("explain", "optimizer.lr", "--json", "--lang", "zh").stdout)
    assert told["name"] == "optimizer.lr" and told["what"] == ["峰值学习率。"]


def test_a_wrong_name_gets_the_nearest_and_no_traceback(luthier: Run) -> None:
    done = luthier("explain", "lora_rnk")
    assert done.returncode == 2 and done.stdout == ""
    assert "did you mean lora_rank" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("dialect", FILES)
def test_a_file_is_printed_whole_with_explanations(luthier: Run, tmp_path: Path, dialect: str, lang: str) -> None:
    name, text = FILES[dialect]
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = luthier("explain", name, "--lang", lang)
    assert done.returncode == 0 and done.stderr == ""
    printed = iter(done.stdout.splitlines())
    for line in text.splitlines():
        assert any(one == line or one.startswith(line + "  # ") for one in printed), line


def test_a_file_as_json_names_lines_keys_and_settings(luthier: Run, recipe: Path) -> None:
    told = json.loads(luthier("explain", recipe, "--json").stdout)
    assert told["dialect"] == "axolotl"
    line = next(one for one in told["lines"] if one["text"].startswith("lora_r"))
    assert line["explanations"][0]["setting"] == "adapter.rank"
    assert FILES["axolotl"][1].splitlines()[line["line"] - 1] == line["text"]


def test_a_file_that_is_not_there_is_told_of(luthier: Run) -> None:
    done = luthier("explain", "none.yaml")
    assert done.returncode == 2 and "none.yaml: cannot be read" in done.stderr


def test_a_files_text_cannot_steer_the_terminal(luthier: Run, tmp_path: Path) -> None:
    (tmp_path / "l.yaml").write_text(FILES["luthier"][1] + "# \u202e\n", encoding="utf-8")
    done = luthier("explain", "l.yaml")
    assert "\u202e" not in done.stdout and r"\u202e" in done.stdout


@pytest.mark.parametrize("words", [("lora_r",), ("sft", "--lang", "zh"), ("--help",)])
def test_explaining_loads_nothing_heavy(words: tuple[str, ...], tmp_path: Path) -> None:
    assert heavy_after(command("explain", *words), tmp_path) == (0, "HEAVY []")


def test_explaining_a_file_loads_nothing_heavy(recipe: Path, tmp_path: Path) -> None:
    assert heavy_after(command("explain", recipe), tmp_path) == (0, "HEAVY []")
