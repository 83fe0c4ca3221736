"""Validation rows that are copies of training rows are left out of the evaluation, and told of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.data.holdout import split_holdout
from luthier.train.prepare import Inputs, prepare_inputs
from tests.conftest import World, write_jsonl
from tests.data.made import recipe_of
from tests.show.made import silent


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"human": f"Where is number {n}?", "assistant": f"At {n}."} for n in numbers]


def inputs(world: World, folder: Path, train: list[dict[str, Any]], **data: Any) -> Inputs:
    settings = {"train": [{"path": str(write_jsonl(folder / "train.jsonl", train))}], **data}
    return prepare_inputs(recipe_of(world, data=settings), silent())


def lines(found: Inputs) -> list[int]:
    """The lines of the file that are evaluated on."""
    assert found.evaluation is not None
    return [int(found.evaluation.origins[one].rpartition(":")[2]) for one in found.evaluation_documents]


def copies_told(found: Inputs) -> list[str]:
    return [warning for warning in found.plan.warnings if "cop" in warning]


@pytest.fixture(scope="module")
def half() -> tuple[list[int], list[int]]:
    """Which of 12 rows are trained on and which are held out, where 4 are."""
    train, held = split_holdout(np.arange(12), 4, recipe_seed())
    return train.tolist(), held.tolist()


def recipe_seed() -> int:
    from luthier.recipe import Recipe

    return Recipe().seed


def test_held_out_copies_of_training_rows_are_left_out(
    world: World, tmp_path: Path, half: tuple[list[int], list[int]]
) -> None:
    train, held = half
    numbers = list(range(12))
    numbers[held[1]] = numbers[train[0]]
    found = inputs(world, tmp_path, rows(*numbers), holdout=4)
    assert lines(found) == [held[n] + 1 for n in (0, 2, 3)] and found.documents == train
    assert copies_told(found) == [
        "1 of 4 evaluation documents is a copy of a training document, and is left out of the evaluation"
    ]
    assert found.plan.evaluation_documents == 3


def test_evaluation_rows_of_their_own_are_looked_at_too(world: World, tmp_path: Path) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", rows(3, 20, 0, 21))
    found = inputs(world, tmp_path, rows(*range(6)), evaluate=[{"path": str(other)}])
    assert lines(found) == [2, 4] and len(found.documents) == 6
    assert "2 of 4 evaluation documents are copies" in copies_told(found)[0]


def test_where_all_are_copies_nothing_is_evaluated(world: World, tmp_path: Path) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", rows(3, 0))
    found = inputs(world, tmp_path, rows(*range(6)), evaluate=[{"path": str(other)}])
    assert found.evaluation is None and found.evaluation_documents == []
    assert "2 of 2 evaluation documents" in copies_told(found)[0]
    assert "nothing is left to evaluate on" in copies_told(found)[0] and found.plan.evaluation_documents == 0


def test_rows_that_differ_are_not_told_of(world: World, tmp_path: Path) -> None:
    found = inputs(world, tmp_path, rows(*range(12)), holdout=4)
    assert len(found.evaluation_documents) == 4 and not copies_told(found)
