"""A tokenizer that has to be made is made once, whoever asks for it, and whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from luthier.plan.inputs import tokenizer_directory, trained_tokenizer
from luthier.recipe import Recipe
from luthier.recipe.validate import build
from tests.conftest import World, write_jsonl

PROGRAM = """
import json, sys
from luthier.plan.inputs import tokenizer_directory
from luthier.recipe.validate import build

def told(text):
    print(text, flush=True)
    if text.startswith("training") and sys.argv[2] == "slow":
        sys.stdin.readline()

print(tokenizer_directory(build(json.loads(sys.argv[1]), str), told), flush=True)
"""


def process(recipe: Recipe, how: str = "") -> subprocess.Popen[str]:
    tree = recipe.model_dump_json(exclude_defaults=True)
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", PROGRAM, tree, how]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


def said(one: subprocess.Popen[str]) -> str:
    assert one.stdout is not None
    return one.stdout.readline().strip()


@pytest.fixture
def wanted(world: World, tmp_path: Path) -> Recipe:
    lines = [{"text": " ".join(f"word{(n * k) % 7919}" for k in range(40))} for n in range(20_000)]
    rows = write_jsonl(tmp_path / "rows.jsonl", lines)
    shape = {"hidden": 32, "layers": 1, "heads": 2}
    tree = {
        "model": {"path": None, "scratch": shape},
        "tokenizer": {"train": {"vocabulary": 2000}},
        "data": {"train": [{"path": str(rows)}]},
        "method": {"kind": "pretrain"},
    }
    return build(tree, str)


def test_of_two_processes_one_trains_and_the_other_waits(wanted: Recipe) -> None:
    first = process(wanted, "slow")
    assert said(first) == "training a tokenizer of 2,000 tokens"
    second = process(wanted)
    assert said(second) == "another process is making the same tokenizer; waiting for it"
    ends = [first.communicate("go\n", timeout=120)[0], second.communicate(timeout=120)[0]]
    place = trained_tokenizer(wanted)
    assert ends == [f"{place}\n", f"{place}\n"]
    assert (first.returncode, second.returncode) == (0, 0)
    told: list[str] = []
    assert tokenizer_directory(wanted, told.append) == place and told == []


def test_a_training_that_is_killed_starts_anew(wanted: Recipe) -> None:
    place = trained_tokenizer(wanted)
    assert place is not None
    dying = process(wanted)
    assert said(dying).startswith("training")
    while not list(place.parent.glob(f".{place.name[:12]}-*")):
        assert dying.poll() is None
        time.sleep(0.001)
    dying.send_signal(signal.SIGKILL)
    dying.communicate(timeout=60)
    assert dying.returncode == -signal.SIGKILL and not place.exists()
    told: list[str] = []
    assert tokenizer_directory(wanted, told.append) == place
    assert told == ["training a tokenizer of 2,000 tokens"]
    assert json.loads((place / "tokenizer.json").read_text())["model"]["vocab"]
    assert not [name for name in os.listdir(place.parent) if name.startswith(".")]
