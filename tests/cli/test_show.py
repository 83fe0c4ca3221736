"""``luthier show`` prints what the trainer sees of a row."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.data.pipeline import prepare
from tests.conftest import World, write_jsonl
from tests.data.made import recipe_of

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    steering = {"human": "\x1b[31mred\x07 [bold]not bold[/bold]", "assistant": "\x9b2J :smile: <|im_end|>."}
    return write_jsonl(tmp_path / "rows.jsonl", [{"human": "Where?", "assistant": "Here."}, steering, {"human": "x"}])


@pytest.fixture
def recipe(world: World, rows: Path, write_recipe: Callable[..., Path]) -> Path:
    return write_recipe(world.recipe(data={"train": [{"path": str(rows)}], "bad_rows": 1}))


def test_json_agrees_with_the_store(world: World, rows: Path, recipe: Path, luthier: Run) -> None:
    done = luthier("show", recipe, "2", "--json")
    assert done.returncode == 0 and done.stderr == ""
    shown = json.loads(done.stdout)
    made = recipe_of(world, data={"train": [{"path": str(rows)}], "bad_rows": 1})
    stored = prepare(made, made.data.train, world.model)[0][1]
    assert shown["origin"] == stored.origin == f"{rows}:2"
    assert shown["ids"] == stored.ids.tolist() and shown["trained"] == stored.trained.tolist()
    assert shown["documents"] == [{"ids": stored.ids.tolist(), "trained": stored.trained.tolist()}]


def test_text_agrees_with_the_store_and_cannot_steer_the_terminal(
    world: World, rows: Path, recipe: Path, luthier: Run
) -> None:
    done = luthier("show", recipe, "2")
    assert done.returncode == 0 and done.stderr == ""
    assert not [c for c in done.stdout if not c.isprintable() and c != "\n"]
    whole = "".join(done.stdout.splitlines())
    assert r"\x1b[31mred\x07 [bold]not bold[/bold]" in whole and r"\x9b2J :smile: <|im_end|>." in whole
    made = recipe_of(world, data={"train": [{"path": str(rows)}], "bad_rows": 1})
    stored = prepare(made, made.data.train, world.model)[0][1]
    assert f"tokens    {len(stored)}, {stored.targets} learned: " in whole
    assert f"kept: {len(stored)} tokens go on" in whole
    assert all(f"{one}:" in whole for one in stored.ids.tolist())


def test_the_first_row_is_shown_unless_another_is_named(rows: Path, recipe: Path, luthier: Run) -> None:
    done = luthier("show", recipe, "--json")
    assert json.loads(done.stdout)["origin"] == f"{rows}:1"


def test_words_on_the_line_win_over_the_file(recipe: Path, luthier: Run) -> None:
    done = luthier("show", recipe, "1", "data.template=plain", "--json")
    assert [span["text"] for span in json.loads(done.stdout)["spans"]] == ["Where?\n", " Here.<|im_end|>", "\n"]


@pytest.mark.parametrize(
    ("row", "reason"), [("3", "rows.jsonl:3: has no column 'assistant'"), ("4", "rows.jsonl: there is no row 4")]
)
def test_a_row_that_cannot_be_shown_is_told_of(recipe: Path, luthier: Run, row: str, reason: str) -> None:
    done = luthier("show", recipe, row)
    assert done.returncode == 2 and done.stdout == ""
    assert reason in done.stderr and "Traceback" not in done.stderr


def test_rows_are_counted_from_one(recipe: Path, luthier: Run) -> None:
    assert luthier("show", recipe, "0").returncode == 2
