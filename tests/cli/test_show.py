"""``luthier show`` prints what the trainer sees, of the first batch or of a row."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.data.pipeline import prepare
from tests.conftest import World, write_jsonl
from tests.data.made import recipe_of
from tests.report.reader import Page

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    steering = {"human": "\x1b[31mred\x07 [bold]not bold[/bold]", "assistant": "\x9b2J :smile: <|im_end|>."}
    return write_jsonl(tmp_path / "rows.jsonl", [{"human": "Where?", "assistant": "Here."}, steering, {"human": "x"}])


@pytest.fixture
def recipe(world: World, rows: Path, write_recipe: Callable[..., Path]) -> Path:
    return write_recipe(world.recipe(data={"train": [{"path": str(rows)}], "bad_rows": 1}))


def test_the_first_batch_for_programs(world: World, rows: Path, recipe: Path, luthier: Run) -> None:
    done = luthier("show", recipe, "--json", "data.shuffle=false")
    assert done.returncode == 0, done.stderr
    assert "preparing the train rows" in done.stderr
    shown = json.loads(done.stdout)
    made = recipe_of(world, data={"train": [{"path": str(rows)}], "bad_rows": 1})
    store, _ = prepare(made, made.data.train, world.model)
    batch = shown["batch"]
    assert batch["documents"] == len(shown["rows"]) and batch["tokens"] == sum(len(row["ids"]) for row in shown["rows"])
    assert (batch["step"], batch["micro"], batch["padding"]) == (1, 1, 0)
    for row in shown["rows"]:
        stored = store[row["document"]]
        assert row["origin"] == stored.origin
        assert row["ids"] == stored.ids.tolist() and row["trained"] == stored.trained.tolist()
        assert [label != -100 for label in row["labels"]] == [*stored.trained.tolist()[1:], False]
        assert len(row["pieces"]) == len(row["control"]) == len(row["positions"]) == len(row["ids"])
        assert row["fate"] == "kept" and row["part"] == [1, 1]
        assert row["why"][0]["tokens"][0] == 0 and row["why"][-1]["tokens"][1] == len(row["ids"])
        assert {one["reason"] for one in row["why"]} == {"template", "other_role", "role", "terminator"}


def test_a_row_for_programs_agrees_with_the_store(world: World, rows: Path, recipe: Path, luthier: Run) -> None:
    done = luthier("show", recipe, "2", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    made = recipe_of(world, data={"train": [{"path": str(rows)}], "bad_rows": 1})
    stored = prepare(made, made.data.train, world.model)[0][1]
    assert shown["origin"] == stored.origin == f"{rows}:2"
    assert shown["ids"] == stored.ids.tolist() and shown["trained"] == stored.trained.tolist()
    assert shown["documents"] == [{"ids": stored.ids.tolist(), "trained": stored.trained.tolist()}]
    (use,) = shown["epoch_0"]
    assert use["document"] == 1 and use["step"] >= 1 and (use["begin"], use["end"]) == (0, len(stored))


@pytest.mark.parametrize("words", [(), ("2",)])
def test_the_text_cannot_steer_the_terminal(recipe: Path, luthier: Run, words: tuple[str, ...]) -> None:
    done = luthier("show", recipe, *words, "batch.micro=4")
    assert done.returncode == 0, done.stderr
    assert not [c for c in done.stdout if not c.isprintable() and c != "\n"]
    assert r"\x1b[31mred\x07 [bold]not bold[/bold]" in done.stdout and r"\x9b2J :smile: <|im_end|>." in done.stdout
    assert r"⟦\x9b2J :smile: <|im_end|>.⟨<|im_end|>⟩⟧" in done.stdout


def test_words_on_the_line_win_over_the_file(recipe: Path, luthier: Run) -> None:
    for words in (("1", "data.template=plain"), ("data.template=plain", "1")):
        done = luthier("show", recipe, *words, "--json")
        assert [span["text"] for span in json.loads(done.stdout)["spans"]] == ["Where?\n", " Here.<|im_end|>", "\n"]


def test_the_language_asked_for(recipe: Path, luthier: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert "微批次" in luthier("show", recipe).stdout
    assert "micro-batch 1 of" in luthier("show", recipe, "--lang", "en").stdout


@pytest.mark.parametrize("words", [(), ("2",)])
def test_the_page(recipe: Path, luthier: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    place = tmp_path / "page.html"
    for _ in range(2):
        done = luthier("show", recipe, *words, "--html", place, "--lang", "zh")
        assert done.returncode == 0 and done.stdout == "" and str(place) in done.stderr
    assert Page(place.read_text(encoding="utf-8")).those("html")[0].attributes["lang"] == "zh"
    place.write_text("mine")
    done = luthier("show", recipe, *words, "--html", place)
    assert done.returncode == 2 and "is not a page of luthier show" in done.stderr and place.read_text() == "mine"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("3", "rows.jsonl:3: has no column 'assistant'"),
        ("4", "rows.jsonl: there is no row 4"),
        ("0", "rows are counted from 1"),
    ],
)
def test_a_row_that_cannot_be_shown_is_told_of(recipe: Path, luthier: Run, row: str, reason: str) -> None:
    done = luthier("show", recipe, row)
    assert done.returncode == 2 and done.stdout == ""
    assert reason in done.stderr and "Traceback" not in done.stderr


def test_a_row_is_shown_though_another_keeps_the_run_from_being_prepared(recipe: Path, luthier: Run) -> None:
    done = luthier("show", recipe, "1", "data.bad_rows=0", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["epoch_0"] is None
    assert "rows.jsonl:3: has no column 'assistant'" in done.stderr
    done = luthier("show", recipe, "data.bad_rows=0")
    assert done.returncode == 2 and done.stdout == "" and "has no column 'assistant'" in done.stderr


def test_what_cannot_be_trained_is_shown_and_refused(recipe: Path, luthier: Run) -> None:
    done = luthier("show", recipe, "optimizer.kind=adamw_anyprecision", "--json")
    assert done.returncode == 2 and json.loads(done.stdout)["batch"]["step"] == 1
    assert "adamw_anyprecision" in done.stderr and "Traceback" not in done.stderr


def test_a_row_before_a_pasted_command(world: World, luthier: Run) -> None:
    pasted = ["python", "train.py", "--model_name_or_path", world.model, "--dataset_name", world.stories]
    done = luthier("show", "2", "--json", "--", *pasted, "--output_dir", "out")
    assert json.loads(done.stdout)["origin"] == f"{world.stories}:2", done.stderr
