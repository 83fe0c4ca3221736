"""Plain values -> Recipe, with every fault at once, where the user wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.dialects import read
from luthier.errors import Fault, RecipeError
from luthier.recipe.validate import build

GOOD = {"model": {"path": "some/model"}, "data": {"train": [{"path": "rows.jsonl"}]}}


def faults_of(**sections: Any) -> list[Fault]:
    """What is wrong with a recipe, each fault placed at the path of its key."""
    tree = {**GOOD, **sections}
    with pytest.raises(RecipeError) as caught:
        build(tree, lambda path: "/".join(map(str, path)))
    return list(caught.value.faults)


def test_a_tree_becomes_the_recipe_it_says() -> None:
    recipe = build({**GOOD, "optimizer": {"lr": 3}, "seed": 7}, lambda _: "")
    assert (recipe.model.path, recipe.data.train[0].path) == ("some/model", "rows.jsonl")
    assert (recipe.optimizer.lr, recipe.seed, recipe.batch.micro) == (3.0, 7, 1)


@pytest.mark.parametrize(
    ("sections", "key", "remedy"),
    [
        ({"optimiser": {}}, "optimiser", "did you mean optimizer?"),
        ({"optimizer": {"learning": 1}}, "optimizer.learning", "settings here: kind, lr, beta1"),
        ({"optimizer": {"weight_decai": 0.1}}, "optimizer.weight_decai", "did you mean optimizer.weight_decay?"),
        ({"lr": 1e-4}, "lr", "did you mean optimizer.lr?"),
        ({"adapter": {"micro": 1}}, "adapter.micro", "did you mean batch.micro?"),
        ({"model": {"path": "x", "layers": 2}}, "model.layers", "did you mean model.scratch.layers?"),
        ({"batch": {"weight_dekay": 2}}, "batch.weight_dekay", "did you mean optimizer.weight_decay?"),
        ({"hub": {}}, "hub", "did you mean output.hub?"),
        ({"data": {**GOOD["data"], "pack": {}}}, "data.pack", "did you mean pack?"),
        ({"beams": 4}, "beams", "did you mean evaluate.generation.beams?"),
        ({"runtime": {"kernels": {"ligar": "on"}}}, "runtime.kernels.ligar", "did you mean runtime.kernels.liger?"),
        ({"kind": "sft"}, "kind", "did you mean tokenizer.train.kind or adapter.kind or quantise.kind?"),
        (
            {"data": {"train": [{"path": "a"}, {"path": "b", "colums": {}}]}},
            "data.train.1.colums",
            "did you mean data.train.1.columns?",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(sections: Any, key: str, remedy: str) -> None:
    [fault] = faults_of(**sections)
    assert fault.reason == f"{key} is not a setting"
    assert fault.place == key.replace(".", "/")
    assert fault.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("sections", "key", "reason"),
    [
        ({"batch": {"micro": "four"}}, "batch.micro", "input should be a valid integer (found 'four')"),
        ({"batch": {"micro": 0}}, "batch.micro", "input should be greater than 0 (found 0)"),
        ({"batch": {"micro": 1.5}}, "batch.micro", "valid integer (found 1.5)"),
        ({"batch": {"drop_last": "yes"}}, "batch.drop_last", "valid boolean (found 'yes')"),
        ({"optimizer": {"lr": float("inf")}}, "optimizer.lr", "finite number (found inf)"),
        ({"optimizer": {"lr": float("nan")}}, "optimizer.lr", "(found nan)"),
        ({"optimizer": {"beta1": 1}}, "optimizer.beta1", "less than 1 (found 1"),
        ({"adapter": {"kind": "qlora"}}, "adapter.kind", "'none', 'lora', 'ia3', 'prefix' or 'prompt' (found 'qlora')"),
        ({"adapter": {"targets": [1]}}, "adapter.targets", "valid string (found 1)"),
        ({"adapter": {"rank_pattern": {"q": 0}}}, "adapter.rank_pattern", "greater than 0 (found 0)"),
        ({"optimizer": None}, "optimizer", "input should be an object (found None)"),
        ({"optimizer": 3}, "optimizer", "input should be an object (found 3)"),
        ({"data": {"train": {"path": "a"}}}, "data.train", "input should be a valid array"),
        ({"data": {"train": [{}]}}, "data.train.0.path", "field required"),
        ({"data": {"train": [{"path": 3}]}}, "data.train.0.path", "valid string (found 3)"),
        ({"checkpoint": {"every": "often"}}, "checkpoint.every", "'epoch' or 'never' (found 'often')"),
        ({"evaluate": {"every": True}}, "evaluate.every", "(found True)"),
        ({"output": {"shard_size": "banana"}}, "output.shard_size", "such as 5GB (found 'banana')"),
        ({"output": {"shard_size": "0GB"}}, "output.shard_size", "such as 5GB (found '0GB')"),
        ({"track": {"log_model": "foo"}}, "track.log_model", "'checkpoint' or 'end' (found 'foo')"),
        ({"track": {"watch": "weights"}}, "track.watch", "'parameters' or 'all' (found 'weights')"),
        ({"track": {"every": 1.5}}, "track.every", "a share lies below 1"),
        ({"quantise": {"bits": 5}}, "quantise.bits", "4, 8 or 16 (found 5)"),
        ({"model": {"path": "x", "scratch": {"kv_heads": 0}}}, "model.scratch.kv_heads", "greater than 0 (found 0)"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_its_place_and_what_was_found(sections: Any, key: str, reason: str) -> None:
    [fault] = faults_of(**sections)
    assert fault.reason.startswith(f"{key}: ")
    assert reason in fault.reason
    assert fault.place == key.replace(".", "/")
    assert "Value error" not in fault.reason and "value error" not in fault.reason


def test_a_value_that_fits_no_form_of_a_setting_is_one_fault_with_all_its_forms() -> None:
    [fault] = faults_of(evaluate={"every": [1]})
    assert fault.reason == (
        "evaluate.every: input should be a valid integer or input should be a valid number"
        " or input should be a valid string (found [1])"
    )


def test_all_faults_of_form_are_told_at_once() -> None:
    told = faults_of(optimizer={"lr": -1, "betas": 1}, batch={"micro": "x"}, seeed=1)
    assert [fault.place for fault in told] == ["batch/micro", "optimizer/lr", "optimizer/betas", "seeed"]


def test_all_contradictions_are_told_at_once_with_their_remedies() -> None:
    told = faults_of(data={"train": []}, quantise={"bits": 4})
    assert [(fault.place, bool(fault.remedy)) for fault in told] == [("quantise/bits", True), ("data/train", True)]
    assert told[1].reason == "data.train: no rows to train on"


def test_faults_of_a_file_stand_at_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "model:\n"
        "  path: some/model\n"
        "optimizer:\n"
        "  kind: adamw\n"
        "  lr: -2e-5\n"
        "  betta1: 0.9\n"
        "data:\n"
        "  train:\n"
        "  - path: a.jsonl\n"
        "  - format: text\n"
        "micro: 4\n"
    )
    with pytest.raises(RecipeError) as caught:
        read(path)
    assert sorted((fault.place, fault.reason.partition(":")[0]) for fault in caught.value.faults) == [
        (f"{path}:10", "data.train.1.path"),
        (f"{path}:11", "micro is not a setting"),
        (f"{path}:5", "optimizer.lr"),
        (f"{path}:6", "optimizer.betta1 is not a setting"),
    ]


def test_a_contradiction_of_a_file_stands_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("model: {path: m}\ndata: {train: [{path: a}]}\n\nevaluate:\n  patience: 3\n")
    with pytest.raises(RecipeError) as caught:
        read(path)
    assert [fault.place for fault in caught.value.faults] == [f"{path}:5"]
