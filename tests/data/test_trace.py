"""A traced row is what preparation makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.data.pipeline import prepare
from luthier.data.trace import trace
from luthier.errors import DataError
from tests.conftest import World, write_jsonl
from tests.data.made import recipe_of

ROWS: list[dict[str, Any]] = [
    {"human": "Where?", "assistant": "Here <|im_end|>."},
    {"human": "And?"},
    {"human": "x" * 300, "assistant": "y" * 100},
    {"human": "Last?", "assistant": "Yes."},
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "rows.jsonl", ROWS)


def test_a_trace_agrees_with_the_store(world: World, rows: Path) -> None:
    recipe = recipe_of(world, data={"train": [{"path": str(rows)}], "bad_rows": 1, "overlong": "truncate_left"})
    store, _ = prepare(recipe, recipe.data.train, world.model)
    for stored, row in zip(store, (1, 3, 4), strict=True):
        tree = trace(recipe, world.model, row).tree()
        assert tree["origin"] == stored.origin == f"{rows}:{row}"
        assert tree["documents"] == [{"ids": stored.ids.tolist(), "trained": stored.trained.tolist()}]
        assert len(tree["ids"]) == len(tree["trained"]) == len(tree["pieces"])


def test_the_stages_of_a_row_follow_from_one_another(world: World, rows: Path) -> None:
    found = trace(recipe_of(world, data={"train": [{"path": str(rows)}]}), world.model, 1)
    text = "<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\nHere <|im_end|>.<|im_end|>\n"
    assert "".join(span.text for span in found.spans) == "".join(found.pieces) == text
    learned = [piece for piece, trained in zip(found.pieces, found.tokens.trained, strict=True) if trained]
    assert "".join(learned) == "Here <|im_end|>.<|im_end|>"
    assert [span.text for span in found.spans if span.literal] == ["<|im_end|>"]
    assert found.fate == "kept" and found.kept == [found.tokens]


def test_a_long_row_is_shown_whole_with_its_fate(world: World, rows: Path) -> None:
    tree = trace(recipe_of(world, data={"train": [{"path": str(rows)}]}), world.model, 3).tree()
    assert tree["fate"] == "dropped" and tree["documents"] == [] and len(tree["ids"]) > 96


def test_a_document_is_shown_with_its_end(world: World) -> None:
    recipe = recipe_of(world, data={"train": [{"path": str(world.stories)}]}, method={"kind": "pretrain"})
    found = trace(recipe, world.model, 2)
    store, _ = prepare(recipe, recipe.data.train, world.model)
    assert found.tokens.ids.tolist() == store[1].ids.tolist()
    assert found.pieces[-1] == "<|im_end|>" and found.tokens.trained.all()


def test_rows_are_counted_over_all_sources(world: World, rows: Path) -> None:
    recipe = recipe_of(world, data={"train": [{"path": str(world.questions), "rows": 2}, {"path": str(rows)}]})
    assert trace(recipe, world.model, 2).example.origin == f"{world.questions}:3"
    assert trace(recipe, world.model, 6).example.origin == f"{rows}:4"


@pytest.mark.parametrize("budget", [0, 5])
def test_a_bad_row_is_told_of_and_not_the_next_one_shown(world: World, rows: Path, budget: int) -> None:
    recipe = recipe_of(world, data={"train": [{"path": str(rows)}], "bad_rows": budget})
    with pytest.raises(DataError, match="has no column 'assistant'") as caught:
        trace(recipe, world.model, 2)
    assert [fault.place for fault in caught.value.faults] == [f"{rows}:2"]
    assert trace(recipe, world.model, 4).example.origin == f"{rows}:4"


def test_a_row_that_is_not_there_is_refused(world: World, rows: Path) -> None:
    recipe = recipe_of(world, data={"train": [{"path": str(rows)}]})
    with pytest.raises(DataError, match="there is no row 5") as caught:
        trace(recipe, world.model, 5)
    assert caught.value.faults[0].place == str(rows) and caught.value.faults[0].remedy


def test_a_trace_is_plain_values(world: World, rows: Path) -> None:
    tree = trace(recipe_of(world, data={"train": [{"path": str(rows)}]}), world.model, 1).tree()
    assert json.loads(json.dumps(tree))["messages"][1]["content"] == "Here <|im_end|>."
