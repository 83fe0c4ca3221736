"""Commands that only look start without the heavy libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from luthier.cli.app import main
from tests.conftest import World

HEAVY = ("torch", "transformers", "datasets", "peft")

TELL = f"""
import atexit, sys
atexit.register(lambda: print("HEAVY", sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr))
"""


def heavy_after(code: str, cwd: Path) -> tuple[int, str]:
    """How a fresh interpreter ended that ran the code, and which heavy libraries it had loaded."""
    done = subprocess.run(
        [sys.executable, "-c", TELL + code], capture_output=True, text=True, cwd=cwd, env=dict(os.environ), timeout=60
    )
    return done.returncode, done.stderr.strip().splitlines()[-1]


def command(*words: str | Path) -> str:
    return f"sys.argv = ['luthier', *{[str(word) for word in words]!r}]\nfrom luthier.cli.app import main\nmain()\n"


def test_the_watch_itself_sees_what_is_loaded(tmp_path: Path) -> None:
    assert heavy_after("sys.modules['torch'] = sys", tmp_path) == (0, "HEAVY ['torch']")


@pytest.mark.parametrize(
    "module",
    [
        "luthier",
        "luthier.errors",
        "luthier.registry",
        "luthier.environment",
        "luthier.recipe",
        "luthier.dialects",
        "luthier.record.events",
        "luthier.record.folder",
        "luthier.plan.plan",
        "luthier.plan.page",
        "luthier.plan.support",
        "luthier.cli.app",
    ],
)
def test_a_room_that_only_looks_loads_nothing_heavy(module: str, tmp_path: Path) -> None:
    assert heavy_after(f"import {module}", tmp_path) == (0, "HEAVY []")


@pytest.mark.parametrize("name", [None, "read", "plan", "show", "train", "evaluate", "generate", "report"])
def test_help_loads_nothing_heavy(name: str | None, tmp_path: Path) -> None:
    assert heavy_after(command(*([name] if name else []), "--help"), tmp_path) == (0, "HEAVY []")


@pytest.mark.parametrize("flags", [(), ("--json",)])
@pytest.mark.parametrize("name", ["read", "plan"])
def test_looking_at_a_recipe_loads_nothing_heavy(
    name: str, flags: tuple[str, ...], write_recipe: Callable[..., Path], world: World, tmp_path: Path
) -> None:
    path = write_recipe(world.recipe(adapter={"kind": "lora"}, data={"holdout": 2}))
    assert heavy_after(command(name, path, *flags), tmp_path) == (0, "HEAVY []")


def test_a_plan_that_has_to_guess_a_tokenizer_loads_nothing_heavy(
    write_recipe: Callable[..., Path], world: World, tmp_path: Path
) -> None:
    tree = world.recipe(method={"kind": "pretrain"}, tokenizer={"train": {}})
    tree["model"], tree["data"] = {"scratch": {}}, {"train": [{"path": str(world.stories)}]}
    assert heavy_after(command("plan", write_recipe(tree)), tmp_path) == (0, "HEAVY []")


def test_an_error_loads_nothing_heavy(tmp_path: Path) -> None:
    assert heavy_after(command("plan", "none.yaml"), tmp_path) == (2, "HEAVY []")


@pytest.mark.parametrize("said", ["", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_idle_threads_spin_briefly_unless_the_user_says_how_they_wait(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    for name in names:
        monkeypatch.setenv(name, "to be put back")
        monkeypatch.delenv(name)
    if said:
        monkeypatch.setenv(said, "7")
    monkeypatch.setattr(sys, "argv", ["luthier", "--help"])
    with pytest.raises(SystemExit):
        main()
    found = {name: os.environ[name] for name in names if name in os.environ}
    assert found == ({said: "7"} if said else {"GOMP_SPINCOUNT": "5000", "KMP_BLOCKTIME": "0"})
