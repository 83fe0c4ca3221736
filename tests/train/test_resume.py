"""What may differ between a checkpoint and the recipe that goes on from it: nothing in silence."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.errors import CheckpointError
from luthier.recipe import Recipe
from luthier.record.events import Started, Warned, read_events
from luthier.train.resume import check_changes
from tests.conftest import World

Call = Callable[..., "subprocess.CompletedProcess[str]"]
Write = Callable[..., Path]


def tree(**sections: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"model": {"path": "m"}, "data": {"train": [{"path": "rows.jsonl"}]}}
    whole = {**base, **{name: {**base.get(name, {}), **section} for name, section in sections.items()}}
    return Recipe.model_validate_json(json.dumps(whole)).tree()


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"optimizer": {"kind": "ao_adamw_8bit"}}, "belongs to another optimizer.kind (was 'adamw', now"),
        ({"optimizer": {"args": {"momentum": 0.9}}}, "belongs to another optimizer.args"),
        ({"adapter": {"kind": "lora"}}, "belongs to another adapter.kind"),
        ({"adapter": {"rank": 4}}, "belongs to another adapter.rank"),
        ({"method": {"kind": "pretrain"}}, "belongs to another method.kind"),
        ({"model": {"last_layers": 1}}, "belongs to another model.last_layers"),
        ({"quantise": {"bits": 4}}, "belongs to another quantise.bits"),
        ({"pack": {"kind": "none"}}, "in another order: pack.kind"),
        ({"data": {"shuffle": False}}, "in another order: data.shuffle"),
        ({"batch": {"micro": 3}}, "in another order: number of packs a step (was 1, now 3)"),
    ],
)
def test_what_its_state_or_its_rows_do_not_fit_is_refused(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        check_changes(tree(), tree(**sections), "here")
    assert said in str(caught.value) and "checkpoint.resume: never" in str(caught.value)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"optimizer": {"lr": 0.5}}, "optimizer.lr"),
        ({"schedule": {"kind": "linear"}}, "schedule.kind"),
        ({"batch": {"epochs": 9.0}}, "batch.epochs"),
        ({"precision": {"compute": "fp32"}}, "precision.compute"),
        ({"adapter": {"dropout": 0.5}}, "adapter.dropout"),
    ],
)
def test_what_the_rest_may_change_is_said(sections: dict[str, Any], key: str) -> None:
    [change] = check_changes(tree(), tree(**sections), "here")
    assert change.startswith(f"{key} (was ")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"batch": {"micro": 4, "accumulation": 2}}, {"batch": {"micro": 1, "accumulation": 8}}),
        ({"batch": {"accumulation": 8}}, {"batch": {"accumulation": 4, "world": 2}}),
        ({}, {"output": {"dir": "elsewhere"}}),
        ({}, {"evaluate": {"patience": 3}, "checkpoint": {"every": 5}}),
    ],
)
def test_what_changes_nothing_is_passed_over(before: dict[str, Any], now: dict[str, Any]) -> None:
    assert check_changes(tree(**before), tree(**now), "here") == []


def test_a_checkpoint_that_does_not_say_is_taken() -> None:
    assert check_changes(None, tree(), "here") == []


@pytest.mark.slow
def test_a_named_checkpoint_of_another_recipe(world: World, tmp_path: Path, luthier: Call, write_recipe: Write) -> None:
    first = write_recipe(world.recipe(batch={"steps": 4}, output={"dir": str(tmp_path / "first")}))
    assert luthier("train", first).returncode == 0
    named = f"checkpoint.resume={tmp_path / 'first' / 'checkpoints' / 'step-00000004'}"
    refused = luthier("train", first, named, f"output.dir={tmp_path / 'other'}", "optimizer.kind=sgd", "batch.steps=6")
    assert refused.returncode == 2
    assert "belongs to another optimizer.kind (was 'adamw', now 'sgd')" in refused.stderr
    assert "Traceback" not in refused.stderr
    taken = luthier("train", first, named, f"output.dir={tmp_path / 'third'}", "optimizer.lr=1e-4", "batch.steps=6")
    assert taken.returncode == 0, taken.stderr
    events = list(read_events(tmp_path / "third" / "events.jsonl"))
    assert next(event.step for event in events if isinstance(event, Started)) == 4
    warned = " ".join(event.message for event in events if isinstance(event, Warned))
    assert "goes on with another optimizer.lr (was 0.001, now 0.0001)" in warned
    assert "goes on with another batch.steps (was 4, now 6)" in warned
