"""TrainingArguments as printed, as JSON and as YAML: every field counts, is inert for a reason, or is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.dialects.reading import Account, Outcome
from luthier.dialects.table import Inert
from luthier.dialects.training_arguments import (
    TRAINING_ARGUMENT_DEFAULTS,
    TRAINING_ARGUMENTS,
    parse,
    recognises,
    training_argument_rows,
)
from luthier.errors import RecipeError
from tests.dialects.argument_flips import FLIPS as ARGUMENT_FLIPS
from tests.dialects.argument_flips import KEYS_OF_2024, TRL_FLIPS, VALUES
from tests.dialects.flips import differs, makers, read

DUMP = """\
TrainingArguments(
_n_gpu=0,
debug=[],
eval_steps=None,
evaluation_strategy=IntervalStrategy.NO,
fp16=False,
fsdp=[<FSDPOption.FULL_SHARD: 'full_shard'>, <FSDPOption.AUTO_WRAP: 'auto_wrap'>],
fsdp_config={'min_num_params': 0, 'xla': False},
group_by_length=True,
hub_token=<HUB_TOKEN>,
learning_rate=3e-05,
logging_dir=./out/runs/Jan02_03-04-05_some-laptop.local,
lr_scheduler_type=SchedulerType.COSINE,
mp_parameters=,
optim=OptimizerNames.PAGED_ADAMW,
output_dir=./out,
report_to=['wandb'],
run_name=./out,
save_steps=0,
save_strategy=IntervalStrategy.STEPS,
warmup_ratio=0.05,
warmup_steps=0,
)
"""

FLIPS = {**ARGUMENT_FLIPS, **TRL_FLIPS}

BASE = {"output_dir": "out", "learning_rate": 1e-4}


def account(key: str, **keys: Any) -> Account:
    """The account of a key in a file with these keys."""
    (found,) = [
        one
        for one in read(TRAINING_ARGUMENTS, {**BASE, **keys}).accounts
        if one.key == key and one.outcome is not Outcome.DEFAULT
    ]
    return found


def test_every_field_of_2024_and_of_today_has_a_row() -> None:
    from transformers import Seq2SeqTrainingArguments

    today = {field.name for field in dataclasses.fields(Seq2SeqTrainingArguments)}
    named = {name for row in TRAINING_ARGUMENTS.rows for name in row.names}
    assert len(KEYS_OF_2024) == 117
    assert {*KEYS_OF_2024, *today} - named == set()


def test_every_row_that_makes_settings_is_flipped() -> None:
    assert sorted(makers(TRAINING_ARGUMENTS.rows)) == sorted(FLIPS)


@pytest.mark.parametrize("name", FLIPS)
def test_another_value_is_another_recipe(name: str) -> None:
    base = {} if name in ("output_dir", "learning_rate") else BASE
    assert differs(TRAINING_ARGUMENTS, base, name, FLIPS[name])


def test_every_target_is_a_setting() -> None:
    from luthier.recipe import Recipe
    from luthier.recipe.field import fields_of

    settings = {name for name, _ in fields_of(Recipe)}
    for row in TRAINING_ARGUMENTS.rows:
        for target in row.targets:
            assert target in settings or target.rpartition(".")[0] in settings, target


def test_inert_rows_say_why() -> None:
    reasons = [row.reason for row in TRAINING_ARGUMENTS.rows if isinstance(row, Inert)]
    assert reasons
    assert all(len(reason) > 15 for reason in reasons)


def test_accounts_add_up_and_places_are_lines() -> None:
    reading = TRAINING_ARGUMENTS.read(DUMP, "args.txt", ())
    keys = [one for one in reading.accounts if one.outcome is not Outcome.DEFAULT]
    assert [one.key for one in keys] == [line.partition("=")[0] for line in DUMP.split("\n")[1:-2]]
    assert [one.place for one in keys] == [f"args.txt:{line}" for line in range(2, 2 + len(keys))]
    assert all(one.note for one in keys if one.outcome in (Outcome.INERT, Outcome.REPLACED))
    assert {fault.reason.partition(":")[0] for fault in reading.refusals()} == {"model", "data.train"}


def test_a_printed_text_means_what_its_author_had() -> None:
    recipe = TRAINING_ARGUMENTS.read(DUMP, "args.txt", ()).recipe
    assert (recipe.optimizer.kind, recipe.optimizer.lr) == ("paged_adamw_32bit", 3e-5)
    assert (recipe.schedule.kind, recipe.schedule.warmup_steps, recipe.schedule.warmup_share) == ("cosine", None, 0.05)
    assert (recipe.checkpoint.every, recipe.checkpoint.keep_last) == ("never", None)
    assert (recipe.parallel.engine, recipe.parallel.stage) == ("fsdp", 3)
    assert (recipe.track.to, recipe.track.name, recipe.track.dir) == (("wandb",), None, None)
    assert recipe.data.group_by_length
    assert recipe.pack.kind == "none"


def test_the_same_fields_as_yaml_and_as_source_code() -> None:
    yaml = "learning_rate: 2e-5\noptim: adamw_torch\noutput_dir: x\nevaluation_strategy: no\n"
    source = '  args = TrainingArguments(\n  learning_rate=2e-5,\n  optim="adamw_torch",\n  output_dir="x",\n)\n'
    for text in (yaml, source):
        assert recognises(parse(text, "n"))
        recipe = TRAINING_ARGUMENTS.read(text, "n", ()).recipe
        assert (recipe.optimizer.lr, recipe.optimizer.kind, recipe.output.dir) == (2e-5, "adamw", "x")


@pytest.mark.parametrize(
    "text",
    [
        "base_model: a/b\nlearning_rate: 1e-4\noptim: sgd\n",
        "optimizer: {lr: 1}\nseed: 3\n",
        '{"model_name_or_path": "a/b", "learning_rate": 1e-4, "seed": 1, "optim": "sgd"}',
        "learning_rate: 1e-4\n",
    ],
)
def test_files_of_others_are_not_taken(text: str) -> None:
    assert not recognises(parse(text, "n"))


@pytest.mark.parametrize(
    ("key", "keys", "outcome", "said"),
    [
        ("do_train", {"do_train": False}, Outcome.INERT, "does not mean that nothing is trained"),
        ("save_steps", {"save_steps": 0}, Outcome.APPLIED, "only the result at the end"),
        ("save_steps", {"save_steps": 5, "save_strategy": "epoch"}, Outcome.INERT, "the save strategy is epoch"),
        ("save_strategy", {"save_strategy": "best"}, Outcome.REPLACED, "load_best_model_at_end"),
        ("save_steps", {"save_steps": 0}, Outcome.APPLIED, "left to the script"),
        ("do_train", {"do_train": False}, Outcome.INERT, "only scripts read it"),
        ("warmup_steps", {"warmup_steps": 0, "warmup_ratio": 0.1}, Outcome.INERT, "gives way"),
        ("warmup_ratio", {"warmup_steps": 9, "warmup_ratio": 0.1}, Outcome.INERT, "warmup_steps wins"),
        ("warmup_steps", {"warmup_steps": 0.1}, Outcome.APPLIED, "share of the run"),
        ("warmup_steps", {"warmup_steps": 9, "lr_scheduler_type": "constant"}, Outcome.INERT, "no warm-up"),
        ("gradient_accumulation_steps", {"gradient_accumulation_steps": 2}, Outcome.APPLIED, "4.46"),
        ("fp16", {"fp16": True}, Outcome.APPLIED, "bf16"),
        ("fp16", {"fp16": True, "bf16": True}, Outcome.REFUSED, "keep one"),
        ("bf16_full_eval", {"bf16_full_eval": True}, Outcome.REFUSED, "set bf16: true as well"),
        ("optim", {"optim": "adamw_tourch"}, Outcome.REFUSED, "did you mean adamw_torch?"),
        ("optim", {"optim": "sgd", "adafactor": True}, Outcome.INERT, "wins"),
        ("use_mps_device", {"use_mps_device": True}, Outcome.REPLACED, "same result"),
        ("split_batches", {"split_batches": True}, Outcome.REFUSED, "divide it"),
        ("data_seed", {"data_seed": 7}, Outcome.REPLACED, "set seed"),
        ("data_seed", {"data_seed": 7, "seed": 7}, Outcome.INERT, "seed"),
        ("average_tokens_across_devices", {"average_tokens_across_devices": False}, Outcome.REPLACED, "all devices"),
        (
            "lr_scheduler_type",
            {"lr_scheduler_type": "SchedulerType.REDUCE_ON_PLATEAU"},
            Outcome.APPLIED,
            "told after each evaluation",
        ),
        ("warmup_ratio", {"lr_scheduler_type": "greedy", "warmup_ratio": 0.1}, Outcome.INERT, "greedy has no warm-up"),
        ("lr_scheduler_type", {"lr_scheduler_type": "warmup_stable_decay"}, Outcome.REFUSED, "num_decay_steps"),
        ("lr_scheduler_kwargs", {"lr_scheduler_kwargs": {"power": 2}}, Outcome.REFUSED, "takes no power"),
        (
            "lr_scheduler_kwargs",
            {"lr_scheduler_kwargs": {"power": 2}, "lr_scheduler_type": "constant"},
            Outcome.INERT,
            "takes none",
        ),
        ("eval_strategy", {"eval_strategy": "steps"}, Outcome.INERT, "after the last step"),
        ("metric_for_best_model", {"metric_for_best_model": "f1"}, Outcome.INERT, "nothing goes by it"),
        (
            "metric_for_best_model",
            {"metric_for_best_model": "f1", "save_strategy": "best"},
            Outcome.APPLIED,
            "",
        ),
        ("train_sampling_strategy", {"train_sampling_strategy": "batch_rebalance"}, Outcome.REPLACED, "same rows"),
        ("prediction_loss_only", {"prediction_loss_only": True}, Outcome.INERT, "predictions were kept"),
        ("include_for_metrics", {"include_for_metrics": ["loss"]}, Outcome.INERT, "metric function"),
        ("dataloader_drop_last", {"dataloader_drop_last": True}, Outcome.APPLIED, "incomplete micro-batch"),
        (
            "accelerator_config",
            {
                "accelerator_config": {"gradient_accumulation_kwargs": {"num_steps": 4}},
                "gradient_accumulation_steps": 2,
            },
            Outcome.REFUSED,
            "keep gradient_accumulation_steps",
        ),
        ("accelerator_config", {"accelerator_config": {"split_batches": True}}, Outcome.REFUSED, "divide it"),
        ("report_to", {"report_to": "all"}, Outcome.REPLACED, "name the ones you want"),
        ("fp16_backend", {"fp16_backend": "apex"}, Outcome.INERT, "autocast"),
        ("tpu_num_cores", {"tpu_num_cores": 8}, Outcome.INERT, "are counted"),
        ("debug", {"debug": ["tpu_metrics_debug"]}, Outcome.INERT, "not printed"),
        ("debug", {"debug": "everything"}, Outcome.REFUSED, "underflow_overflow"),
        ("fsdp", {"fsdp": "shard"}, Outcome.REFUSED, "full_shard"),
        ("fsdp_config", {"fsdp_config": {"xla": True}}, Outcome.INERT, "TPUs"),
        ("generation_config", {"generation_config": "a.json"}, Outcome.INERT, "no answers"),
        (
            "generation_config",
            {"generation_config": "a.json", "predict_with_generate": True},
            Outcome.REFUSED,
            "max_new_tokens=",
        ),
        ("warmup_steps", {"warmup_steps": 0, "warmup_ratio": 0.1}, Outcome.INERT, "does not mean no warm-up"),
        ("warmup_ratio", {"warmup_ratio": 0.1}, Outcome.APPLIED, "transformers 5"),
        ("evaluation_strategy", {"evaluation_strategy": "epoch", "x": 1}, Outcome.INERT, "no evaluation rows"),
        ("logging_nan_inf_filter", {"logging_nan_inf_filter": True, "report_to": ["wandb"]}, Outcome.APPLIED, "NaN"),
        ("group_by_length", {"group_by_length": True}, Outcome.APPLIED, "no longer random"),
        ("no_cuda", {"no_cuda": True}, Outcome.APPLIED, "no_cuda until"),
        ("adafactor", {"adafactor": True}, Outcome.APPLIED, "from before optim"),
        ("fp16_full_eval", {"fp16": True, "fp16_full_eval": True}, Outcome.APPLIED, "not under autocast"),
        ("weight_decay", {"weight_decay": 0.1}, Outcome.APPLIED, "decoupled"),
        ("optim", {"optim": "adamw_hf"}, Outcome.APPLIED, "epsilon"),
        ("optim", {"optim": "adamw_bnb_8bit"}, Outcome.APPLIED, "few bits"),
        ("fsdp_config", {"fsdp_config": "fsdp.json"}, Outcome.REFUSED, "write what that file says"),
        ("overwrite_output_dir", {"overwrite_output_dir": True, "resume_from_checkpoint": "a"}, Outcome.INERT, "wins"),
        ("metric_for_best_model", {"metric_for_best_model": "f1"}, Outcome.INERT, "is off"),
        ("logging_steps", {"logging_steps": 0}, Outcome.REPLACED, "every step"),
        ("sharded_ddp", {"sharded_ddp": "simple"}, Outcome.REPLACED, "FSDP"),
    ],
)
def test_what_is_said(key: str, keys: dict[str, Any], outcome: Outcome, said: str) -> None:
    found = account(key, **keys)
    assert (found.outcome, said in found.note) == (outcome, True), found


@pytest.mark.parametrize(
    ("keys", "setting", "value"),
    [
        ({"lr_scheduler_type": "constant"}, "schedule.warmup_steps", 0),
        ({"lr_scheduler_type": "greedy"}, "schedule.args", {"mode": "min"}),
        (
            {"lr_scheduler_type": "greedy", "lr_scheduler_kwargs": {"mode": "max", "min_lr": 1e-5, "verbose": True}},
            "schedule.args",
            {"mode": "max", "min_lr": 1e-5},
        ),
        *(
            (
                {
                    "lr_scheduler_type": "reduce_lr_on_plateau",
                    "learning_rate": 1e-4,
                    "lr_scheduler_kwargs": {"min_lr": 1e-5, "patience": 2},
                },
                setting,
                value,
            )
            for setting, value in (
                ("schedule.minimum", pytest.approx(0.1)),
                ("schedule.args", {"mode": "min", "patience": 2}),
                ("schedule.warmup_steps", 0),
            )
        ),
        *(
            (
                {
                    "lr_scheduler_type": "warmup_stable_decay",
                    "lr_scheduler_kwargs": {"num_decay_steps": 9, "decay_type": "linear", "min_lr_ratio": 0.1},
                },
                setting,
                value,
            )
            for setting, value in (
                ("schedule.decay", 9),
                ("schedule.args", {"decay_type": "linear"}),
                ("schedule.minimum", 0.1),
                ("schedule.warmup_from", 0.1),
            )
        ),
        *(
            (
                {"fsdp": True, "fsdp_config": {"version": 2, "reshard_after_forward": False, "cpu_offload": True}},
                setting,
                value,
            )
            for setting, value in (
                ("parallel.stage", 2),
                ("parallel.offload_parameters", True),
                ("parallel.offload_optimizer", True),
                ("parallel.fsdp_config", {}),
            )
        ),
        ({"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 7}, "schedule.warmup_steps", 7),
        ({"lr_scheduler_type": "constant_with_warmup"}, "schedule.kind", "constant"),
        (
            {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 1e-5}},
            "schedule.minimum",
            0.1,
        ),
        ({"lr_scheduler_type": "cosine_with_restarts"}, "schedule.cycles", 1.0),
        ({"lr_scheduler_type": "polynomial"}, "schedule.minimum", 1e-3),
        ({"eval_strategy": "steps", "logging_steps": 20}, "evaluate.every", 20),
        ({"metric_for_best_model": "eval_f1", "load_best_model_at_end": True}, "evaluate.higher_is_better", True),
        ({"metric_for_best_model": "eval_f1", "load_best_model_at_end": True}, "evaluate.best_metric", "f1"),
        ({"torch_compile": False, "torch_compile_mode": "default"}, "runtime.compile", True),
        ({"fsdp": ["offload", "full_shard"]}, "parallel.offload_parameters", True),
        ({"use_cpu": False, "no_cuda": True}, "runtime.device", "cpu"),
        ({}, "batch.epochs", 3.0),
        ({}, "schedule.warmup_steps", 0),
        ({}, "schedule.kind", "linear"),
        ({}, "optimizer.kind", "adamw"),
        ({"save_strategy": "steps"}, "checkpoint.every", 500),
        ({"save_strategy": "best", "eval_strategy": "steps", "eval_steps": 30}, "checkpoint.every", 30),
        ({"logging_steps": 0}, "track.every", 1),
        ({"fsdp": "hybrid_shard"}, "parallel.stage", 3),
        ({"parallelism_config": {"cp_size": 1, "sp_size": 2}}, "parallel.context", 2),
    ],
)
def test_what_it_comes_to(keys: dict[str, Any], setting: str, value: Any) -> None:
    tree: Any = read(TRAINING_ARGUMENTS, {**BASE, **keys}).recipe
    for part in setting.split("."):
        tree = getattr(tree, part)
    assert tree == pytest.approx(value) if isinstance(value, float) else tree == value


def test_a_deepspeed_file_is_read_with_it(tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_text('{"scheduler": {"type": "WarmupLR"}, "optimizer": {"type": "Adam"}}')
    text = (
        "TrainingArguments(\ndeepspeed=ds.json,\nlr_scheduler_type=SchedulerType.CONSTANT,\nwarmup_steps=7,\n"
        "optim=sgd,\nadafactor=False,\nlr_scheduler_kwargs={},\n)\n"
    )
    reading = TRAINING_ARGUMENTS.read(text, str(tmp_path / "args.txt"), ())
    accounts = {one.key: one for one in reading.accounts}
    assert (reading.recipe.schedule.kind, reading.recipe.schedule.warmup_steps) == ("warmup_lr", 1000)
    assert (reading.recipe.optimizer.kind, reading.recipe.parallel.deepspeed) == ("adamw", "ds.json")
    assert accounts["lr_scheduler_type"].outcome is accounts["optim"].outcome is Outcome.REPLACED
    assert accounts["adafactor"].outcome is accounts["lr_scheduler_kwargs"].outcome is Outcome.INERT
    assert accounts["ds.json: scheduler.type"].place == "ds.json:1"


def test_deepspeed_settings_inside_the_file_have_accounts_of_their_own() -> None:
    text = '{"output_dir": "o",\n"deepspeed": {"zero_optimization":\n{"stage": 2, "surprise": 1}}}'
    reading = TRAINING_ARGUMENTS.read(text, "a.json", ())
    accounts = {one.key: one for one in reading.accounts}
    assert (reading.recipe.parallel.engine, reading.recipe.parallel.stage) == ("deepspeed", 2)
    assert accounts["deepspeed: zero_optimization.stage"].place == "a.json:3"
    assert not accounts["deepspeed: zero_optimization.surprise"].known


def test_a_deepspeed_file_that_is_not_there_is_refused() -> None:
    found = account("deepspeed", deepspeed="nowhere/ds.json")
    assert found.outcome is Outcome.REFUSED
    assert "put it there, or correct its path" in found.note


def test_a_token_is_neither_used_nor_shown() -> None:
    reading = read(TRAINING_ARGUMENTS, {**BASE, "hub_token": "hf_secret", "push_to_hub_token": "hf_other"})
    assert "hf_" not in str(reading.tree())
    assert "HF_TOKEN" in next(one.note for one in reading.accounts if one.key == "hub_token")


def test_rows_and_defaults_below_a_prefix_see_their_neighbours() -> None:
    rows = {row.name: row for row in training_argument_rows("args.")}
    values = {"args.warmup_steps": 0, "args.warmup_ratio": 0.1, "warmup_ratio": 0}
    assert rows["args.warmup_ratio"].effect(0.1, values).settings == {"schedule.warmup_share": 0.1}
    assert "args.per_gpu_train_batch_size" in rows["args.per_device_train_batch_size"].names
    (warm,) = [one for one in TRAINING_ARGUMENT_DEFAULTS("args.") if one.name == "args.warmup_steps"]
    assert not warm.when(values)
    assert warm.when({"warmup_ratio": 1})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("TrainingArguments(\nseed=1,\nseed=2,\n)\n", "n:3: 'seed' is written twice"),
        ("TrainingArguments(\nseed 1\n)\n", "n:2: 'seed 1' is no argument"),
        ("TrainingArguments(\nseed=1,\n", "the closing bracket is missing"),
        ("TrainingArguments(\nseed=1,\n)\nmore\n", "n:4: text after the closing bracket"),
        ("TrainingArguments(\ndebug=[1,\n)\n", "n:2: '[1' cannot be read"),
        ("TrainingArguments(\nfsdp=[b'x'],\n)\n", "cannot be read"),
    ],
)
def test_a_broken_text_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(text, "n")
    assert said in str(caught.value)


@given(st.text(), st.sampled_from(["", "TrainingArguments(\n", "{", "TrainingArguments(\nfsdp="]))
def test_any_text_is_read_or_refused(text: str, head: str) -> None:
    try:
        document = parse(head + text, "n")
    except RecipeError:
        return
    if isinstance(document.value, dict):
        recognises(document)


NAMES = sorted(name for row in TRAINING_ARGUMENTS.rows for name in row.names)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5))
def test_any_value_is_read_or_refused(keys: dict[str, Any]) -> None:
    try:
        read(TRAINING_ARGUMENTS, keys)
    except RecipeError:
        return
