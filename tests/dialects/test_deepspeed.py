"""DeepSpeed's JSON file: what is automatic, what must agree, what replaces the recipe's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.dialects.deepspeed import (
    DEEPSPEED_ROWS,
    UNCLIPPED,
    deepspeed_companion,
    names_deepspeed,
    under_deepspeed,
)
from luthier.dialects.deepspeed_schedule import SCHEDULES
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
            Key("learning_rate", "optimizer.lr", float),
            Key("warmup_steps", "schedule.warmup_steps"),
            Key("max_grad_norm", "optimizer.clip"),
            Key("weight_decay", "optimizer.weight_decay", note="biases and norms are spared"),
            Spread("deepspeed", ("parallel.engine", "parallel.deepspeed"), names_deepspeed, whole=True),
        )
    ),
    defaults=(UNCLIPPED,),
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
    "scheduler.params.warmup_type": ("log", "linear"),
    "tensor_parallel": ({"autotp_size": 2}, {"autotp_size": 4}),
    "sequence_parallel_size": (2, 4),
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
    if row.name == "scheduler.params.warmup_min_lr":
        return {"scheduler.params.warmup_max_lr": 1e-3}
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
    schedule = reading.recipe.schedule
    assert (schedule.kind, schedule.warmup) == ("warmup_lr", "log")
    told = "DeepSpeed's own warm-up (log(step + 1) / log(warmup_num_steps)), then a constant"
    assert told in accounts["ds.json: scheduler.type"].note
    assert by_key(host(tmp_path, {"zero_optimization": {"stage": 2}}, "optim: sgd\n"))["optim"].target


@pytest.mark.parametrize("rise", [None, "log", "linear"])
@pytest.mark.parametrize(("name", "kind"), SCHEDULES.items())
def test_schedules_by_type_and_warm_up(name: str, kind: str, rise: str | None) -> None:
    given = {"scheduler.type": name} | ({"scheduler.params.warmup_type": rise} if rise else {})
    schedule = alone(given).recipe.schedule
    assert (schedule.kind, schedule.warmup) == (kind, rise or "log")


def test_what_a_schedule_leaves_out_is_deepspeeds_own_and_auto_is_the_recipes(tmp_path: Path) -> None:
    text = "learning_rate: 2e-5\nwarmup_steps: 7\n"
    silent = host(tmp_path, {"scheduler": {"type": "WarmupLR", "params": {}}}, text)
    assert (silent.recipe.optimizer.lr, silent.recipe.schedule.warmup_steps) == (0.001, 1000)
    assert {by_key(silent)[key].outcome for key in ("learning_rate", "warmup_steps")} == {Outcome.REPLACED}
    given = {"type": "WarmupLR", "params": {"warmup_max_lr": "auto", "warmup_num_steps": "auto"}}
    told = host(tmp_path, {"scheduler": given}, text)
    assert (told.recipe.optimizer.lr, told.recipe.schedule.warmup_steps) == (2e-5, 7)
    cosine = host(tmp_path, {"scheduler": {"type": "WarmupCosineLR", "params": {"warmup_num_steps": 5}}}, text)
    assert (cosine.recipe.optimizer.lr, cosine.recipe.schedule.minimum) == (2e-5, 1e-4)
    rates = {"optimizer": {"type": "Adam", "params": {"lr": 3e-5}}, "scheduler": {"type": "WarmupLR", "params": {}}}
    assert host(tmp_path, rates).recipe.optimizer.lr == 0.001


def test_a_warm_up_starts_at_a_share_of_its_peak() -> None:
    given = {"scheduler.type": "WarmupLR", "scheduler.params.warmup_max_lr": 1e-3}
    reading = alone({**given, "scheduler.params.warmup_min_lr": 1e-4})
    assert reading.recipe.schedule.warmup_from == pytest.approx(0.1)
    above = alone({**given, "scheduler.params.warmup_min_lr": 1e-2})
    assert by_key(above)["scheduler.params.warmup_min_lr"].outcome is Outcome.REFUSED


def test_without_gradient_clipping_in_the_file_nothing_is_clipped(tmp_path: Path) -> None:
    text = "max_grad_norm: 0.3\n"
    silent = host(tmp_path, {"zero_optimization": {"stage": 2}}, text)
    assert silent.recipe.optimizer.clip is None
    assert by_key(silent)["max_grad_norm"].outcome is Outcome.REPLACED
    assert host(tmp_path, {"zero_optimization": {"stage": 2}}).recipe.optimizer.clip is None
    auto = host(tmp_path, {"zero_optimization": {"stage": 2}, "gradient_clipping": "auto"}, text)
    assert auto.recipe.optimizer.clip == 0.3


def test_an_optimiser_block_decays_all_weights_upstream(tmp_path: Path) -> None:
    block = {"optimizer": {"type": "AdamW", "params": {"weight_decay": 0.1}}}
    accounts = by_key(host(tmp_path, block, "weight_decay: 0.1\n"))
    assert "biases and norms decayed too" in accounts["weight_decay"].note
    assert "biases and norms decayed too" in accounts["ds.json: optimizer.params.weight_decay"].note
    assert (
        "spared"
        in by_key(host(tmp_path, {"zero_optimization": {"stage": 1}}, "weight_decay: 0.1\n"))["weight_decay"].note
    )


@pytest.mark.parametrize(("kind", "outcome"), [("AdamW", Outcome.INERT), ("Adam", Outcome.REFUSED)])
def test_only_adam_goes_by_adam_w_mode(tmp_path: Path, kind: str, outcome: Outcome) -> None:
    block = {"optimizer": {"type": kind, "params": {"adam_w_mode": False}}}
    assert by_key(host(tmp_path, block))["ds.json: optimizer.params.adam_w_mode"].outcome is outcome


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
        ({"elasticity": {"enabled": True}}, "", "elasticity"),
        ({"zenflow": {"topk_ratio": 0.1}}, "", "zenflow"),
        ({"zero_optimization": {"zenflow": {"topk_ratio": 0.1}}}, "", "zero_optimization.zenflow"),
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
