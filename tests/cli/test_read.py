"""``luthier read``: the recipe that a file means, with an account of every key."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.recipe import Recipe
from tests.conftest import World

Call = Callable[..., subprocess.CompletedProcess[str]]

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Write = Callable[..., Path]


def test_read_prints_the_reading_as_json(luthier: Run, write_recipe: Write, world: World) -> None:
    path = write_recipe(world.recipe(batch={"steps": 3}))
    done = luthier("read", path, "--json", "optimizer.lr=2e-5")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert list(told) == ["dialect", "recipe", "accounts"] and told["dialect"] == "luthier"
    assert Recipe.model_validate_json(json.dumps(told["recipe"])).optimizer.lr == 2e-5
    accounts = {account["key"]: account for account in told["accounts"]}
    assert accounts["batch.epochs"] == {
        "key": "batch.epochs",
        "value": 2,
        "place": f"{path}:10",
        "outcome": "inert",
        "target": "batch.epochs",
        "note": "batch.steps wins",
    }
    assert accounts["optimizer.lr"]["place"] == "the command line"
    assert len(accounts) == 10


def test_read_shows_people_every_key_and_the_changed_settings(luthier: Run, write_recipe: Write, world: World) -> None:
    tree = world.recipe(batch={"steps": 3}, data={"system": "说中文 [bold]x"})
    done = luthier("read", write_recipe(tree))
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("data.system", "说中文 [bold]x", "inert", "applied", "batch.steps", "output.dir"):
        assert word in done.stdout
    shown = done.stdout.partition("left out):\n")[2]
    assert "adapter" not in shown and "max_length: 96" in shown


def test_read_tells_all_faults_on_stderr_without_a_traceback(luthier: Run, write_recipe: Write, world: World) -> None:
    path = write_recipe(world.recipe(optimiser={"lr": 1}, batch={"micro": 0}))
    for flags in ((), ("--json",)):
        done = luthier("read", path, *flags)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"luthier: {path}:9: batch.micro: input should be greater than 0 (found 0)\n"
            f"luthier: {path}:17: optimiser is not a setting\n"
            "  -> did you mean optimizer?\n"
        )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("none.yaml",), "none.yaml: cannot be read: No such file or directory"),
        (("r.yaml", "optimizer.lr"), "the command line: 'optimizer.lr' is not section.field=value"),
        (("r.yaml", "optimizer.lr=x"), "the command line: optimizer.lr: input should be a valid number (found 'x')"),
        (("r.yaml", b"model.path=\xff"), "the command line: "),
    ],
)
def test_what_the_command_line_says_wrong_is_told(
    luthier: Run, write_recipe: Write, world: World, words: tuple[str, ...], told: str
) -> None:
    import os

    write_recipe(world.recipe(), "r.yaml")
    done = luthier("read", *(os.fsdecode(word) for word in words))
    assert done.returncode == 2
    assert done.stderr.startswith(f"luthier: {told}") and "Traceback" not in done.stderr


def test_read_without_a_file_shows_how(luthier: Run) -> None:
    done = luthier("read")
    assert done.returncode == 2 and "FILE" in done.stderr and "Traceback" not in done.stderr


AXOLOTL = """\
base_model: some/model
datasets:
  - path: rows.jsonl
    type: alpaca
adapter: lora
lora_r: 8
lora_alpah: 16
learning_rate: 2e-4
micro_batch_size: 2
"""


def test_another_systems_file_is_told_from_its_looks(tmp_path: Path, luthier: Call) -> None:
    (tmp_path / "theirs.yml").write_text(AXOLOTL)
    told = luthier("read", "theirs.yml", "--json")
    assert told.returncode == 0, told.stderr
    tree = json.loads(told.stdout)
    assert tree["dialect"] == "axolotl"
    by_key = {account["key"]: account for account in tree["accounts"]}
    assert by_key["lora_r"]["target"] == "adapter.rank"
    assert by_key["lora_r"]["place"] == "theirs.yml:6"
    assert "did you mean lora_alpha?" in by_key["lora_alpah"]["note"]
    assert tree["recipe"]["adapter"]["rank"] == 8


def test_what_a_file_leaves_open_is_said_and_ends_with_2(tmp_path: Path, luthier: Call) -> None:
    (tmp_path / "dump.txt").write_text("TrainingArguments(\nlearning_rate=1e-05,\noutput_dir=./out,\n)\n")
    told = luthier("read", "dump.txt")
    assert told.returncode == 2
    assert "no model is named" in told.stdout
    assert "learning_rate" in told.stdout


def test_a_dialect_can_be_named(tmp_path: Path, luthier: Call) -> None:
    (tmp_path / "theirs.yml").write_text(AXOLOTL)
    told = luthier("read", "theirs.yml", "--dialect", "luthier")
    assert told.returncode == 2
    assert "base_model is not a setting" in told.stderr
