"""What a recipe may say that this version cannot do: refused by name, and nothing passed over in silence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.plan.support import rows, unsupported
from luthier.recipe import Recipe
from luthier.recipe.checks import inert, why_inert
from luthier.recipe.field import fields_of
from luthier.recipe.validate import build

ROWS = [{"path": "rows.jsonl"}]
BASE: dict[str, Any] = {"model": {"path": "some/model"}, "data": {"train": ROWS, "evaluate": ROWS}}


def recipe(**sections: Any) -> Recipe:
    tree = dict(BASE)
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section}
    return build(tree, str)


CASES: list[tuple[str, dict[str, Any]]] = [
    ("adapter.kind", {"adapter": {"kind": "ia3"}}),
    ("adapter.kind", {"adapter": {"kind": "prefix"}}),
    ("adapter.kind", {"adapter": {"kind": "prompt"}}),
    ("adapter.init", {"adapter": {"kind": "lora", "init": "loftq"}}),
    ("adapter.continue_from", {"adapter": {"kind": "lora", "continue_from": "x"}}),
    ("quantise.bits", {"quantise": {"bits": 4}, "adapter": {"kind": "lora"}}),
    ("quantise.bits", {"quantise": {"bits": 8}, "adapter": {"kind": "lora"}}),
    ("pack.kind", {"pack": {"kind": "first_fit"}}),
    ("pack.kind", {"pack": {"kind": "concatenate"}}),
    *(("model.attention", {"model": {"attention": kind}}) for kind in ("varlen", "flash", "flex", "eager")),
    *(("parallel.engine", {"parallel": {"engine": kind}}) for kind in ("ddp", "fsdp", "deepspeed")),
    ("parallel.stage", {"parallel": {"stage": 1}}),
    ("parallel.stage", {"parallel": {"deepspeed": "ds.json"}}),
    ("parallel", {"parallel": {"tensor": 2}}),
    ("parallel", {"parallel": {"context": 2}}),
    ("batch.find_micro", {"batch": {"find_micro": True}}),
    ("batch.world", {"batch": {"world": 2}}),
    ("data.group_by_length", {"data": {"group_by_length": True}}),
    ("data.train.weight", {"data": {"train": [{"path": "a", "weight": 2.0}]}}),
    ("data.train.weight", {"data": {"evaluate": [{"path": "a", "weight": 0.5}]}}),
    ("method.neftune_alpha", {"method": {"neftune_alpha": 5.0}}),
    ("method.label_smoothing", {"method": {"label_smoothing": 0.1}}),
    ("method.z_loss", {"method": {"z_loss": 1e-4}}),
    ("optimizer.lora_plus", {"optimizer": {"lora_plus": 16.0}}),
    ("optimizer.embedding_lr", {"optimizer": {"embedding_lr": 1e-5}}),
    ("runtime.compile", {"runtime": {"compile": True}}),
    ("runtime.checkpoint_every", {"runtime": {"checkpoint_every": 2}}),
    ("runtime.debug", {"runtime": {"debug": True}}),
    *(
        (f"runtime.kernels.{name}", {"runtime": {"kernels": {name: "on"}}})
        for name in ("liger", "fuse_qkv", "fuse_mlp", "cross_entropy", "rms_norm")
    ),
    ("evaluate.keep_best", {"evaluate": {"keep_best": True}}),
    ("evaluate.best_metric", {"evaluate": {"best_metric": "exact_match"}}),
    ("evaluate.higher_is_better", {"evaluate": {"higher_is_better": True}}),
    ("precision.full_evaluation", {"precision": {"full_evaluation": True}}),
    ("track.to", {"track": {"to": ["wandb"]}}),
    ("output.merge", {"output": {"merge": True}}),
    ("output.hub.push", {"output": {"hub": {"push": True}}}),
    *(("tokenizer", {"tokenizer": {name: "<x>"}}) for name in ("bos", "eos", "pad", "unk")),
    *(("tokenizer", {"tokenizer": {name: ["<x>"]}}) for name in ("added", "added_special")),
]


@pytest.mark.parametrize(("key", "sections"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_not_there_is_refused_by_its_key_with_a_remedy(key: str, sections: dict[str, Any]) -> None:
    [fault] = unsupported(recipe(**sections))
    assert fault.place == key
    assert "not there" in fault.reason or "only" in fault.reason or "needs" in fault.reason
    assert fault.remedy


def test_every_row_of_the_table_is_tried() -> None:
    """Red when a row is added without a case, or taken away with its case left."""
    assert {key for _, key, _, _ in rows(recipe())} == {key for key, _ in CASES}


@pytest.mark.parametrize(
    ("sections", "key", "remedy"),
    [
        ({"method": {"kind": "sftt"}}, "method.kind", "did you mean sft?"),
        ({"method": {"kind": "dpo"}}, "method.kind", "use one of: pretrain, sft"),
        ({"optimizer": {"kind": "adam"}}, "optimizer.kind", "did you mean adamw?"),
        ({"schedule": {"kind": "cosin"}}, "schedule.kind", "did you mean cosine?"),
        ({"evaluate": {"metrics": ["exact_match", "exact"]}}, "evaluate.metrics", "did you mean exact_match?"),
        ({"data": {"train": [{"path": "a", "format": "alpacca"}]}}, "data.format", "did you mean alpaca?"),
        ({"data": {"evaluate": [{"path": "a", "format": "alpacca"}]}}, "data.format", "did you mean alpaca?"),
        ({"data": {"test": [{"path": "a", "format": "alpacca"}]}}, "data.format", "did you mean alpaca?"),
    ],
)
def test_a_name_that_is_in_no_table_is_refused_with_the_nearest(sections: Any, key: str, remedy: str) -> None:
    [fault] = unsupported(recipe(**sections))
    assert fault.place == key and fault.remedy == remedy and fault.reason.endswith("is not there")


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {
            "adapter": {"kind": "lora", "init": "pissa"},
            "model": {"attention": "sdpa"},
            "parallel": {"engine": "single"},
        },
        {"batch": {"world": 1}, "pack": {"kind": "none"}, "runtime": {"kernels": {"liger": "off", "fuse_qkv": "off"}}},
        {
            "method": {"kind": "mine:Method"},
            "optimizer": {"kind": "mine:make"},
            "evaluate": {"metrics": ["mine:score"]},
        },
    ],
    ids=str,
)
def test_what_is_there_is_let_through(sections: dict[str, Any]) -> None:
    assert unsupported(recipe(**sections)) == []


def test_everything_that_is_not_there_is_told_at_once() -> None:
    asked = recipe(method={"kind": "dpo", "z_loss": 1.0}, pack={"kind": "first_fit"}, output={"merge": True})
    assert [fault.place for fault in unsupported(asked)] == [
        "method.kind",
        "pack.kind",
        "method.z_loss",
        "output.merge",
    ]


def test_no_setting_is_passed_over_in_silence() -> None:
    """A setting that no code reads has to be refused or accounted for as inert."""
    root = Path(luthier.__file__).parent
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in root.rglob("*.py")
        if path.parent.name != "recipe" and path.name != "support.py"
    )
    refused = {key for _, key, _, _ in rows(recipe())}
    reasons = inert(recipe())
    silent = [
        key
        for key, _ in fields_of(Recipe)
        if not re.search(rf'\.{key.rpartition(".")[2]}\b|"{key.rpartition(".")[2]}"', code)
        and key not in refused
        and key.partition(".")[0] not in refused
        and not why_inert(reasons, key)
    ]
    assert silent == []
