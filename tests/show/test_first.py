"""What is shown is what the model itself is given in the first step of a real run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.data.batch import Batch
from luthier.dialects import read
from luthier.methods.causal import SupervisedFineTuning
from luthier.methods.method import Loss
from luthier.show.first import FirstBatch, first_batch
from luthier.train.run import run
from tests.conftest import World, write_jsonl
from tests.show.made import prepared, shown_first, silent

LONG = [{"human": "Where? " * (1 + n % 7), "assistant": "Here, in the mill. " * (1 + n * 5 % 11)} for n in range(24)]
STORIES = [{"text": "Tom lives in the mill. " * (1 + n % 9)} for n in range(24)]
CASES: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "unpacked": (LONG, {"pack": {"kind": "none"}, "batch": {"micro": 3, "accumulation": 2}}),
    "by length": (LONG, {"pack": {"kind": "none"}, "data": {"group_by_length": True}, "batch": {"micro": 4}}),
    "packed": (LONG, {"pack": {"length": 256}, "batch": {"micro": 2}}),
    "first fit": (LONG, {"pack": {"kind": "first_fit", "length": 256}, "data": {"shuffle": False}}),
    "truncated": (LONG, {"data": {"max_length": 48, "overlong": "truncate", "vanished": "drop"}, "seed": 3}),
    "cut on the left": (LONG, {"data": {"max_length": 24, "overlong": "truncate_left"}, "batch": {"micro": 6}}),
    "answers kept": (LONG, {"data": {"max_length": 32, "overlong": "keep_answer"}, "batch": {"micro": 6}}),
    "split": (LONG, {"data": {"max_length": 32, "overlong": "split"}, "batch": {"micro": 6}}),
    "held out": (LONG, {"data": {"holdout": 0.25}, "pack": {"kind": "none"}, "batch": {"micro": 5}}),
    "pretraining": (STORIES, {"method": {"kind": "pretrain"}, "data": {"overlong": "split", "max_length": 40}}),
    "cut packs": (
        STORIES,
        {
            "method": {"kind": "pretrain"},
            "pack": {"kind": "concatenate", "length": 64},
            "data": {"overlong": "split", "max_length": 60},
            "batch": {"micro": 3},
        },
    ),
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """Every batch that a model in training is given."""
    batches: list[Batch] = []
    loss = SupervisedFineTuning.loss

    def watched(self: SupervisedFineTuning, model: torch.nn.Module, batch: Batch) -> Loss:
        batches.extend([batch] if model.training else [])
        return loss(self, model, batch)

    monkeypatch.setattr(SupervisedFineTuning, "loss", watched)
    return batches


def tree_of(world: World, tmp_path: Path, case: str) -> dict[str, Any]:
    rows, sections = CASES[case]
    data = {"train": [{"path": str(write_jsonl(tmp_path / "rows.jsonl", rows))}], "max_length": 240}
    batch = {"steps": 1, **sections.get("batch", {})}
    made = {**sections, "data": {**data, **sections.get("data", {})}, "batch": batch}
    return world.recipe(output={"dir": str(tmp_path / "run")}, **made)


@pytest.mark.parametrize("case", CASES)
def test_the_tensors_are_those_that_the_model_is_given(
    case: str, world: World, tmp_path: Path, write_recipe: Callable[..., Path], seen: list[Batch]
) -> None:
    file = write_recipe(tree_of(world, tmp_path, case))
    shown = first_batch(*prepared(file))
    run(read(file, [], None), silent())
    assert len(seen) == shown.micros
    given = seen[0]
    for name in ("input_ids", "labels", "position_ids", "boundaries"):
        assert torch.equal(getattr(shown.batch, name), getattr(given, name)), name
    tree = shown.tree("en")
    rows, batch = tree["rows"], tree["batch"]
    assert [one for row in rows for one in row["ids"]] == given.input_ids[0].tolist()
    assert [one for row in rows for one in row["labels"]] == given.labels[0].tolist()
    assert [one for row in rows for one in row["positions"]] == given.position_ids[0].tolist()
    assert [row["start"] for row in rows] == given.boundaries.tolist()[:-1]
    assert [row["origin"] for row in rows] == list(given.origins)
    assert (batch["tokens"], batch["learned"], batch["padding"]) == (given.tokens, given.targets, 0)
    check_reasons(shown)


def check_reasons(shown: FirstBatch) -> None:
    """The reasons cover every token once, and say learned of exactly those that are labels."""
    for document in shown.documents:
        runs = list(document.runs())
        assert [run.begin for run in runs] == [0, *(run.end for run in runs[:-1])]
        flags = [run.learned for run in runs for _ in range(run.begin, run.end)]
        assert flags == [False, *(label != -100 for label in document.labels[:-1])]
        learned = {"role", "terminator", "row", "source", "stretch", "document", "end", "labels"}
        assert all((run.reason.kind in learned) == run.learned for run in runs)
        assert document.cut is not None


def test_a_documents_fate_is_told(world: World, tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    def fates(case: str) -> set[tuple[str, bool]]:
        shown = first_batch(*prepared(write_recipe(tree_of(world, tmp_path, case))))
        cuts = [one.cut for one in shown.documents if one.cut is not None]
        assert all(cut.length <= cut.of and 1 <= cut.part <= cut.parts for cut in cuts)
        return {(cut.fate, cut.parts > 1) for cut in cuts}

    assert fates("packed") == {("kept", False)}
    assert ("truncated", False) in fates("cut on the left")
    assert ("split", True) in fates("split")


def test_pieces_of_a_cut_pack_say_which_they_are(
    world: World, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    recipe, inputs = prepared(write_recipe(tree_of(world, tmp_path, "cut packs")))
    shown = first_batch(recipe, inputs)
    cuts = [(one, one.cut) for one in shown.documents if one.cut is not None]
    assert any(not cut.whole for _, cut in cuts)
    for document, cut in cuts:
        stored = inputs.store[document.number].ids.tolist()
        assert document.ids == stored[cut.begin : cut.end] and cut.length == len(stored)
        assert document.reasons[0].kind == "first"


def test_packs_and_their_fill_are_told(world: World, tmp_path: Path) -> None:
    packed = {"pack": {"length": 256}, "data": {"max_length": 240}}
    shown = shown_first(world, tmp_path / "d.jsonl", LONG, **packed, batch={"micro": 2})
    sizes = [sum(len(one.ids) for one in shown.documents if one.pack == pack) for pack in (0, 1)]
    assert sum(sizes) == shown.batch.tokens and max(sizes) <= 256 and min(sizes) > 0
    assert shown.fill == pytest.approx(sum(sizes) / 512)
    alone = shown_first(world, tmp_path / "d.jsonl", LONG, pack={"kind": "none"}, batch={"micro": 2})
    assert alone.fill is None and [one.pack for one in alone.documents] == [0, 1]


def test_the_template_that_stands_in_for_none_is_the_one_shown(
    world: World, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    tree = world.recipe(data={"template": "auto"})
    shown = first_batch(*prepared(write_recipe(tree)))
    assert {run.reason.kind for run in shown.documents[0].runs()} == {"template", "other_role", "role", "terminator"}
