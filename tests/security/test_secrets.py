"""Secrets of a recipe and of the environment: looked for in everything that a run writes and says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.errors import RunError
from luthier.plan.instead import TRACKERS
from luthier.registry import TABLES
from luthier.train.slurm import Job, script
from tests.conftest import World
from tests.security.conftest import Call

Write = Callable[..., Path]

KEY, NESTED, TOKEN, WORD, OWN = "wb-5f2e9a71", "nested-77e1d0", "hf-token-1a2b3c", "pw-0f9e8d", "from-the-environment-1"
SECRETS = (KEY, NESTED, TOKEN, WORD, OWN)

TRACKER = """
class Down:
    def __init__(self, identity):
        self.recipe, self.key = identity.recipe, identity.options["api_key"]
        import pathlib
        pathlib.Path("payload.txt").write_text(repr(identity.recipe))

    def values(self, values, step):
        raise RuntimeError(f"401 for {self.key} at https://user:WORD@tracker.example/api?token=NESTED, and OWN")

    def answers(self, name, rows, step): ...
    def files(self, folder, name): ...
    def end(self, whole): ...
"""


def tree(world: World, out: Path) -> dict[str, Any]:
    return world.recipe(
        adapter={"kind": "lora", "rank": 2},
        batch={"steps": 2},
        checkpoint={"every": 1},
        track={
            "to": ["down"],
            "options": {"api_key": KEY, "settings": {"WANDB_API_KEY": NESTED, "url": f"https://user:{WORD}@host/x"}},
        },
        runtime={"environment": {"HF_TOKEN": TOKEN}},
        output={"dir": str(out)},
    )


def assert_clean(text: str, where: str) -> None:
    assert [secret for secret in SECRETS if secret in text] == [], where


@pytest.fixture
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "down.py").write_text(TRACKER.replace("WORD", WORD).replace("NESTED", NESTED).replace("OWN", OWN))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(TABLES["trackers"], "down", "down:Down")
    monkeypatch.setitem(TRACKERS, "down", "down")
    monkeypatch.setenv("TRACKER_API_KEY", OWN)


@pytest.mark.usefixtures("_surroundings")
def test_nothing_that_a_run_writes_or_says_holds_a_secret(
    world: World, tmp_path: Path, write_recipe: Write, call: Call, capfd: Any
) -> None:
    out = tmp_path / "run"
    recipe = write_recipe(tree(world, out))
    assert call("train", recipe) == 0
    assert call("train", recipe, "track.options.api_key=another-91c0aa", "batch.steps=0x") == 2
    assert call("train", recipe, "track.options.api_key=another-91c0aa", "runtime.threads=1") == 0
    said = capfd.readouterr()
    assert "is told no more" in said.out and "is finished already" in said.out
    assert_clean(said.out + said.err, "what was said")
    assert "another-91c0aa" not in said.out + said.err
    assert_clean((tmp_path / "payload.txt").read_text(), "what a tracker was given as the recipe")
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {"recipe.yaml", "reading.json", "events.jsonl", "progress.json", "report.html"} <= {
        one.name for one in files
    }
    for path in files:
        assert_clean(path.read_bytes().decode(errors="replace"), str(path))


@pytest.mark.usefixtures("_surroundings")
@pytest.mark.parametrize(
    "words", [("read",), ("read", "--json"), ("plan",), ("plan", "--json"), ("explain",), ("inspect",)]
)
def test_no_command_shows_one(
    words: tuple[str, ...], world: World, tmp_path: Path, write_recipe: Write, call: Call, capfd: Any
) -> None:
    command, *options = words
    call(command, write_recipe(tree(world, tmp_path / "run")), *options)
    said = capfd.readouterr()
    assert said.out and "Traceback" not in said.err
    assert_clean(said.out + said.err, command)
    if command == "read":
        assert "<redacted>" in said.out


def test_a_run_goes_on_though_its_record_holds_no_secrets(world: World, tmp_path: Path) -> None:
    from luthier.dialects.document import to_yaml
    from luthier.recipe import Recipe
    from luthier.record.folder import RunFolder
    from luthier.redaction import redacted
    from luthier.train.resume import check_changes, decide

    rows = f"https://user:{WORD}@host/rows.jsonl"
    recipe = Recipe.model_validate(tree(world, tmp_path) | {"data": {"train": [{"path": rows}]}}, strict=False)
    folder = RunFolder(tmp_path)
    folder.recipe.write_text(to_yaml(redacted(recipe.tree())))
    assert decide(recipe, folder).checkpoint is None
    assert check_changes(redacted(recipe.tree()), recipe.tree(), "x") == []


@pytest.mark.parametrize(
    "words",
    [
        ("r.yaml", f"track.options.api_key={KEY}"),
        ("--", "train.py", "--hub_token", TOKEN),
        ("--", "train.py", f"--hub-token={TOKEN}"),
        ("r.yaml", f"data.train.0.path=https://user:{WORD}@host/x"),
    ],
)
def test_a_batch_script_is_not_written_with_one(words: tuple[str, ...]) -> None:
    with pytest.raises(RunError, match="a secret") as caught:
        script(words, Job(processes=1))
    assert_clean(str(caught.value), "the refusal")


def test_a_batch_script_with_ordinary_words_is_written() -> None:
    assert "tokenizer.eos_token=x" in script(("r.yaml", "tokenizer.eos_token=x", "--push_to_hub"), Job(processes=1))


def test_a_traceback_holds_none(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from luthier.cli import app
    from luthier.redaction import redacted

    monkeypatch.setattr(sys, "argv", ["luthier", "report", "x"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    redacted({"api_key": KEY})

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"{KEY} https://user:{WORD}@host")

    monkeypatch.setattr(app, "app", broken)
    try:
        app.main()
    except RuntimeError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    said = capsys.readouterr().err
    assert "Traceback" in said and re.search(r"RuntimeError: <redacted>", said)
    assert KEY not in said.rpartition("RuntimeError")[2] and WORD not in said.rpartition("RuntimeError")[2]
