"""DeepSpeed's JSON file: what is automatic, what must agree, what replaces the recipe's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.dialects.deepspeed import (
    DEEPSPEED_ROWS,
    deepspeed_companion,
    names_deepspeed,
    under_deepspeed,
)
from luthier.dialects.deepspeed_rows import SCHEDULES
from luthier.dialects.json_document import load_json
from luthier.dialects.reading import Account, Outcome, Reading
from luthier.dialects.table import Inert, Key, Row, Spread
from luthier.dialects.tabular import TableDialect

ALONE = TableDialect(name="deepspeed", rows=DEEPSPEED_ROWS, parse=load_json)

HOST = TableDialect(
    name="host",
    rows=under_deepspeed(
        (
            Key("optim", "optimizer.kind"),
            Key("lr_scheduler_type", "schedule.kind"),
            Key("accumulation", "batch.accumulation"),
            Key("clip", "optimizer.clip"),
            Spread("deepspeed", ("parallel.engine", "parallel.deepspeed"), names_deepspeed, whole=True),
        )
    ),
    companions=lambda document, folder: (
        [deepspeed_companion(document.value["deepspeed"], folder)] if "deepspeed" in document.value else []
    ),
)

FULL = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "steps_per_print": 100,
    "wall_clock_breakdown": False,
    "fp16": {"enabled": "auto", "loss_scale": 0, "loss_scale_window": 500, "initial_scale_power": 12, "hysteresis": 2},
    "bf16": {"enabled": "auto"},
    "optimizer": {"type": "Adam", "params": {"lr": "auto", "betas": "auto", "eps": "auto", "weight_decay": "auto"}},
    "scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": "auto", "warmup_num_steps": "auto"}},
    "zero_optimization": {
        "stage": 3,
        "offload_optimizer": {"device": "cpu", "pin_memory": True},
        "overlap_comm": True,
        "reduce_bucket_size": 4e8,
        "stage3_prefetch_bucket_size": "auto",
        "stage3_gather_16bit_weights_on_model_save": True,
    },
}

BASE = {"zero_optimization.stage": 3, "fp16.enabled": True}

FLIPS: dict[str, tuple[Any, Any]] = {
    "train_micro_batch_size_per_gpu": (2, 4),
    "gradient_accumulation_steps": (2, 4),
    "gradient_clipping": (0.5, 0),
    "train_batch_size": (8, 16),
    "fp16.enabled": (False, True),
    "bf16.enabled": (False, True),
    "optimizer.type": ("AdamW", "SGD"),
    "optimizer.params.lr": (1e-3, 1e-4),
    "optimizer.params.betas": ([0.9, 0.95], [0.8, 0.95]),
    "optimizer.params.eps": (1e-8, 1e-6),
    "optimizer.params.weight_decay": (0.0, 0.1),
    "scheduler.type": ("WarmupLR", "WarmupDecayLR"),
    "scheduler.params.warmup_min_lr": (1e-7, 1e-6),
    "scheduler.params.warmup_max_lr": (1e-3, 1e-4),
    "scheduler.params.warmup_num_steps": (10, 20),
    "scheduler.params.cos_min_ratio": (0.1, 0.2),
    "scheduler.params.warmup_min_ratio": (0.1, 0.2),
    "zero_optimization": (False, True),
    "zero_optimization.stage": (2, 3),
    "zero_optimization.offload_optimizer.device": ("none", "cpu"),
    "zero_optimization.offload_param.device": ("none", "nvme"),
    "zero_optimization.cpu_offload": (False, True),
    "zero_optimization.cpu_offload_params": (False, True),
}

MAKING = [row for row in DEEPSPEED_ROWS if row.targets]
IDLE = [row for row in DEEPSPEED_ROWS if isinstance(row, Inert)]


def nested(flat: dict[str, Any]) -> str:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *above, last = key.split(".")
        inner = tree
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return json.dumps(tree)


def alone(flat: dict[str, Any]) -> Reading:
    return ALONE.read(nested(flat), "ds.json", [])


def base_for(row: Row) -> dict[str, Any]:
    if row.name in ("zero_optimization", "fp16.enabled", "bf16.enabled"):
        return {}
    if row.name == "train_batch_size":
        return {"train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 2}
    return dict(BASE)


@pytest.mark.parametrize("row", MAKING, ids=lambda row: row.name)
def test_a_flipped_value_changes_the_recipe(row: Row) -> None:
    one, other = FLIPS.get(row.name, (1, 2))
    first, second = (alone({**base_for(row), row.name: value}) for value in (one, other))
    assert first.recipe != second.recipe
    (found,) = [account for account in second.accounts if account.key == row.name]
    assert found.outcome is Outcome.APPLIED


def test_only_what_is_handed_on_has_no_flip_of_its_own() -> None:
    rest = [row for row in MAKING if row.name not in FLIPS]
    assert all(target.startswith("parallel.deepspeed_config.") for row in rest for target in row.targets)


@pytest.mark.parametrize("row", IDLE, ids=lambda row: row.name)
def test_what_cannot_matter_says_why(row: Inert) -> None:
    assert row.reason


def host(tmp_path: Path, settings: Any, text: str = "") -> Reading:
    (tmp_path / "ds.json").write_text(json.dumps(settings, indent=1))
    return HOST.read("deepspeed: ds.json\n" + text, str(tmp_path / "run.yml"), [])


def by_key(reading: Reading) -> dict[str, Account]:
    return {account.key: account for account in reading.accounts}


def test_a_whole_file_is_accounted_for(tmp_path: Path) -> None:
    reading = host(tmp_path, FULL, "optim: sgd\nlr_scheduler_type: cosine\n")
    leaves = [".".join(map(str, path)) for path, _ in load_json(json.dumps(FULL), "ds.json").leaves()]
    accounts = by_key(reading)
    assert set(accounts) == {"deepspeed", "optim", "lr_scheduler_type", *(f"ds.json: {leaf}" for leaf in leaves)}
    assert not [one for one in reading.accounts if one.outcome is Outcome.REFUSED or "not a key" in one.note]
    assert reading.recipe.parallel.engine == "deepspeed"
    assert reading.recipe.parallel.stage == 3
    assert reading.recipe.parallel.offload_optimizer
    assert reading.recipe.parallel.deepspeed_config == {
        "zero_optimization": {
            "offload_optimizer": {"pin_memory": True}, "overlap_comm": True, "reduce_bucket_size": 4e8,
        }
    }  # fmt: skip


def test_its_optimiser_and_schedule_replace_the_recipes_own(tmp_path: Path) -> None:
    reading = host(tmp_path, FULL, "optim: sgd\nlr_scheduler_type: cosine\n")
    accounts = by_key(reading)
    assert accounts["optim"].outcome is Outcome.REPLACED
    assert accounts["lr_scheduler_type"].outcome is Outcome.REPLACED
    assert reading.recipe.optimizer.kind == "adamw"
    assert reading.recipe.schedule.kind == "warmup_log_constant"
    assert "logarithmic warm-up, then a constant" in accounts["ds.json: scheduler.type"].note
    assert by_key(host(tmp_path, {"zero_optimization": {"stage": 2}}, "optim: sgd\n"))["optim"].target


@pytest.mark.parametrize(("names", "kind"), SCHEDULES.items())
def test_schedules_by_type_and_warm_up(names: tuple[str, str], kind: str) -> None:
    given = {"scheduler.type": names[0], "scheduler.params.warmup_type": names[1]}
    assert alone(given).recipe.schedule.kind == kind


@pytest.mark.parametrize(
    ("settings", "text", "key"),
    [
        ({"gradient_accumulation_steps": 8}, "accumulation: 4\n", "gradient_accumulation_steps"),
        ({"gradient_clipping": 0.3}, "clip: 1.0\n", "gradient_clipping"),
        ({"bf16": {"enabled": True}, "fp16": {"enabled": True}}, "", "fp16.enabled"),
        ({"train_batch_size": 7, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 2}, "",
         "train_batch_size"),
        ({"train_batch_size": 7}, "", "train_batch_size"),
        ({"optimizer": {"type": "OneBitAdam"}}, "", "optimizer.type"),
        ({"optimizer": {"type": "Adam", "params": {"adam_w_mode": False}}}, "", "optimizer.type"),
        ({"scheduler": {"type": "OneCycle"}}, "", "scheduler.type"),
        ({"scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": 9}}}, "",
         "scheduler.params.total_num_steps"),
        ({"zero_optimization": {"stage": 7}}, "", "zero_optimization.stage"),
        ({"zero_optimization": {"offload_param": {"device": "tape"}}}, "", "zero_optimization.offload_param.device"),
        ({"wandb": {"enabled": True}}, "", "wandb"),
        ({"elasticity": {"enabled": True}}, "", "elasticity"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_a_remedy(tmp_path: Path, settings: Any, text: str, key: str) -> None:
    refused = [one for one in host(tmp_path, settings, text).accounts if one.outcome is Outcome.REFUSED]
    assert f"ds.json: {key}" in [one.key for one in refused]
    assert all("; " in one.note for one in refused)


def test_numbers_that_agree_are_applied(tmp_path: Path) -> None:
    reading = host(tmp_path, {"gradient_accumulation_steps": 4}, "accumulation: 4\n")
    assert [one.outcome for one in reading.accounts] == [Outcome.APPLIED] * 3


def test_a_file_that_is_not_there_is_refused_at_the_key_that_names_it(tmp_path: Path) -> None:
    found = by_key(HOST.read("deepspeed: gone.json\n", str(tmp_path / "run.yml"), []))["deepspeed"]
    assert found.outcome is Outcome.REFUSED
    assert "gone.json" in found.note


def test_the_file_is_looked_for_in_the_folders_above(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "ds.json").write_text('{"zero_optimization": {"stage": 1}}')
    reading = HOST.read("deepspeed: ds.json\n", str(tmp_path / "a" / "b" / "run.yml"), [])
    assert reading.recipe.parallel.stage == 1
