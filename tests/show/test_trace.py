"""A traced row is what preparation makes of it, and is used where the feed has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.data.pipeline import prepare
from luthier.errors import DataError
from luthier.show.trace import Trace, trace, uses_of
from tests.conftest import World, write_jsonl
from tests.data.made import recipe_of
from tests.show.made import prepared

ROWS: list[dict[str, Any]] = [
    {"human": "Where?", "assistant": "Here <|im_end|>."},
    {"human": "And?"},
    {"human": "x" * 300, "assistant": "y" * 100},
    {"human": "Last?", "assistant": "Yes."},
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "rows.jsonl", ROWS)


def text_of(found: Trace, *, learned: bool) -> str:
    flags = zip(found.whole.learned, found.whole.pieces, strict=True)
    return "".join(piece for flag, piece in flags if flag or not learned)


def test_a_trace_agrees_with_the_store(world: World, rows: Path) -> None:
    recipe = recipe_of(world, data={"train": [{"path": str(rows)}], "bad_rows": 1, "overlong": "truncate_left"})
    store, _ = prepare(recipe, recipe.data.train, world.model)
    for stored, row in zip(store, (1, 3, 4), strict=True):
        tree = trace(recipe, world.model, row).tree("en")
        assert tree["origin"] == stored.origin == f"{rows}:{row}"
        assert tree["documents"] == [{"ids": stored.ids.tolist(), "trained": stored.trained.tolist()}]
        assert len(tree["ids"]) == len(tree["trained"]) == len(tree["pieces"]) == len(tree["labels"])


def test_the_stages_of_a_row_follow_from_one_another(world: World, rows: Path) -> None:
    found = trace(recipe_of(world, data={"train": [{"path": str(rows)}]}), world.model, 1)
    text = "<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\nHere <|im_end|>.<|im_end|>\n"
    assert "".join(span.text for span in found.spans) == text_of(found, learned=False) == text
    assert text_of(found, learned=True) == "Here <|im_end|>.<|im_end|>"
    assert [span.text for span in found.spans if span.literal] == ["<|im_end|>"]
    control = [piece for piece, flag in zip(found.whole.pieces, found.whole.control, strict=True) if flag]
    assert control == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>"]
    assert found.fate == "kept" and [len(one) for one in found.kept] == [len(found.whole.ids)]


def test_a_long_row_is_shown_whole_with_its_fate(world: World, rows: Path) -> None:
    tree = trace(recipe_of(world, data={"train": [{"path": str(rows)}]}), world.model, 3).tree("en")
    assert tree["fate"] == "dropped" and tree["documents"] == [] and len(tree["ids"]) > 96


def test_a_document_is_shown_with_its_end(world: World) -> None:
    recipe = recipe_of(world, data={"train": [{"path": str(world.stories)}]}, method={"kind": "pretrain"})
    found = trace(recipe, world.model, 2)
    store, _ = prepare(recipe, recipe.data.train, world.model)
    assert found.whole.ids == store[1].ids.tolist()
    assert found.whole.pieces[-1] == "<|im_end|>" and all(found.whole.trained)


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


def test_a_line_that_is_no_row_is_told_of(world: World, rows: Path) -> None:
    rows.write_text(rows.read_text().replace('{"human": "And?"}', '{"human": "And?'))
    recipe = recipe_of(world, data={"train": [{"path": str(rows)}]})
    with pytest.raises(DataError, match="is not JSON"):
        trace(recipe, world.model, 2)
    assert trace(recipe, world.model, 4).example.origin == f"{rows}:4"


def test_a_row_that_is_not_there_is_refused(world: World, rows: Path) -> None:
    recipe = recipe_of(world, data={"train": [{"path": str(rows)}]})
    with pytest.raises(DataError, match="there is no row 5") as caught:
        trace(recipe, world.model, 5)
    assert caught.value.faults[0].place == str(rows) and "there are 4" in caught.value.faults[0].remedy


def test_a_trace_is_plain_values(world: World, rows: Path) -> None:
    tree = trace(recipe_of(world, data={"train": [{"path": str(rows)}]}), world.model, 1).tree("en")
    assert json.loads(json.dumps(tree))["messages"][1]["content"] == "Here <|im_end|>."


@pytest.mark.parametrize(
    "sections",
    [
        {"pack": {"kind": "none"}, "batch": {"micro": 2, "accumulation": 3}},
        {"pack": {"length": 120}, "data": {"holdout": 5}, "batch": {"micro": 2}},
        {"pack": {"kind": "concatenate", "length": 100}},
        {"pack": {"kind": "none"}, "batch": {"micro": 4, "drop_last": True}},
        {"pack": {"kind": "none"}, "batch": {"micro": 2, "steps": 3}},
    ],
)
def test_uses_are_where_the_feed_has_them(
    world: World, write_recipe: Callable[..., Path], sections: dict[str, Any]
) -> None:
    _, inputs = prepared(write_recipe(world.recipe(**sections)))
    fed: dict[int, list[tuple[int, int, int, int]]] = {}
    for step, micros in enumerate(inputs.feed.steps(0), 1):
        for micro, items in enumerate(micros if step <= inputs.plan.steps else (), 1):
            for item in items:
                index, begin, end = (item, 0, -1) if isinstance(item, int) else item
                length = int(inputs.store.lengths[inputs.documents[index]])
                entry = (step, micro, begin, length if end < 0 else end)
                fed.setdefault(inputs.documents[index], []).append(entry)
    used = 0
    for number in range(len(inputs.store)):
        found = list(uses_of(inputs.store.origins[number], inputs))
        assert {use.document for use in found} == {number}
        assert [(u.step, u.micro, u.begin, u.end) for u in found if u.step] == fed.get(number, [])
        assert all((use.step is None) == (number not in inputs.documents) for use in found)
        assert all(1 <= use.pack <= inputs.feed.micro for use in found if use.step)
        used += bool(fed.get(number))
    assert used == len(fed) > 0
    assert list(uses_of("elsewhere.jsonl:1", inputs)) == []
