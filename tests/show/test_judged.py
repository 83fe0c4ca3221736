"""Rows whose answers are judged: what is shown as scored is what the objective's batch scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from luthier.data.jsonl_copy import with_copies
from luthier.data.preference_batch import AnswerBatch
from luthier.recipe.validate import build
from luthier.show.first import FirstBatch, first_batch
from luthier.show.trace import Trace, trace
from luthier.train.display import Display
from luthier.train.prepare import prepare_inputs
from tests.conftest import World, write_jsonl

PAIRS = [
    {"prompt": f"Where is {n}?", "chosen": "In the mill.", "rejected": f"Dunno {n}, ask someone else."}
    for n in range(9)
]
SINGLE = [{"prompt": f"Where is {n}?", "completion": f"In mill {n}.", "label": n % 2 == 0} for n in range(9)]


def shown(world: World, tmp_path: Path, method: dict[str, Any], row: int = 1) -> tuple[FirstBatch, Trace]:
    path = write_jsonl(tmp_path / "rows.jsonl", SINGLE if method["kind"] == "kto" else PAIRS)
    tree = world.recipe(
        data={"train": [{"path": str(path)}], "max_length": 64, "shuffle": False}, method=method, batch={"micro": 2}
    )
    recipe = with_copies(build(tree, str))
    inputs = prepare_inputs(recipe, Display(Console(quiet=True)))
    return first_batch(recipe, inputs), trace(recipe, inputs.tokenizer, row)


@pytest.mark.parametrize("kind", ["dpo", "orpo", "simpo", "kto", "reward"])
def test_what_is_shown_as_scored_is_what_the_batch_scores(world: World, tmp_path: Path, kind: str) -> None:
    first, _ = shown(world, tmp_path, {"kind": kind})
    batch = first.batch
    assert isinstance(batch, AnswerBatch)
    assert [one for document in first.documents for one in document.ids] == batch.input_ids[0].tolist()
    scored = [
        one for document in first.documents for one, flag in zip(document.ids, document.learned, strict=True) if flag
    ]
    assert sorted(scored) == sorted(batch.wanted.tolist())
    assert [document.start for document in first.documents] == [
        sum(len(before.ids) for before in first.documents[:at]) for at in range(len(first.documents))
    ]
    assert all(len(one.reasons) == len(one.ids) for one in first.documents)
    assert {one.cut.fate for one in first.documents if one.cut} == {"kept"}
    assert len(first.documents) > 1


def test_a_pair_is_shown_with_both_answers(world: World, tmp_path: Path) -> None:
    first, row = shown(world, tmp_path, {"kind": "dpo"}, row=2)
    for document in (first.documents[0], row.whole):
        runs = [(run.reason.kind, run.learned, document.text(run.begin, run.end)) for run in document.runs()]
        assert [kind for kind, _, _ in runs] == ["prompt", "chosen", "rejected"]
        assert [learned for _, learned, _ in runs] == [False, True, True]
    assert runs[1][2] == "In the mill.<|im_end|>" and runs[2][2] == "Dunno 1, ask someone else.<|im_end|>"
    assert row.fate == "kept" and len(row.kept) == 1


def test_a_single_answer_is_shown_with_its_label_and_the_one_it_is_compared_with(world: World, tmp_path: Path) -> None:
    first, row = shown(world, tmp_path, {"kind": "kto"}, row=2)
    kinds = {tuple(dict.fromkeys(one.reasons[at].kind for at in range(len(one.ids)))) for one in first.documents}
    assert kinds == {("prompt", "wanted", "mismatched"), ("prompt", "unwanted", "mismatched")}
    assert [run.reason.kind for run in row.whole.runs()] == ["prompt", "unwanted"]
