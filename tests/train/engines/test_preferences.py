"""Judged answers in two real processes, packed: the losses and the result are those of one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import HOMES, NAMES, World, write_jsonl
from tests.processes import Forked
from tests.train.engines.runs import alone, assert_alike, goes_on_identically, recipe, run

Write = Callable[..., Path]
pytestmark = pytest.mark.slow

LORA = {"kind": "lora", "rank": 4, "alpha": 8}


def pairs(file: Path, first: int, count: int) -> str:
    made = []
    for number in range(first, first + count):
        who = number % len(NAMES)
        other = HOMES[(who + 1 + number % 4) % len(HOMES)]
        asked = f"Where does {NAMES[who]} live? ({number})"
        made.append({"prompt": asked, "chosen": f"In the {HOMES[who]}.", "rejected": f"In the {other}, or elsewhere."})
    return str(write_jsonl(file, made))


def judging(world: World, root: Path, **sections: Any) -> dict[str, Any]:
    """A recipe of DPO whose packs hold several pairs each, an odd number of packs in some steps."""
    data = {
        "train": [{"path": pairs(root / "pairs.jsonl", 0, 24)}],
        "evaluate": [{"path": pairs(root / "held-out.jsonl", 24, 7)}],
        "max_length": 96,
    }
    sections = {"method": {"kind": "dpo", "beta": 0.5}, "pack": {"length": 192}, **sections}
    return recipe(world, data=data, **sections)


@pytest.mark.parametrize("reference", ["whole", "adapter"])
def test_two_processes_learn_from_pairs_as_one_does(
    parallel: dict[str, Any], reference: str, world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    """Under an adapter the reference is the model without it; else a copy, or what it gave before it was shared out."""
    method = {"kind": "dpo", "beta": 0.5}
    if reference == "whole" and parallel["engine"] != "ddp":
        method["reference"] = "precomputed"
    adapter = {"adapter": LORA} if reference == "adapter" else {}
    tree = judging(world, world.root, method=method, parallel=parallel, **adapter)
    file = write_recipe(tree)
    run(forked, file, tmp_path / "two", 2)
    assert_alike(alone(forked, tree), tmp_path / "two")
    goes_on_identically(forked, file, tmp_path / "two", 4)
