"""TrainingArguments as printed, as JSON and as YAML: every field counts, is inert for a reason, or is refused."""

from __future__ import annotations

import dataclasses
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
from tests.dialects.argument_flips import FLIPS, KEYS_OF_2024, VALUES
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
        ("save_strategy", {"save_strategy": "best"}, Outcome.REFUSED, "load_best_model_at_end"),
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
        ("use_mps_device", {"use_mps_device": True}, Outcome.REFUSED, "use_cpu: true"),
        ("split_batches", {"split_batches": True}, Outcome.REFUSED, "divide it"),
        ("data_seed", {"data_seed": 7}, Outcome.REPLACED, "set seed"),
        ("data_seed", {"data_seed": 7, "seed": 7}, Outcome.INERT, "seed"),
        ("average_tokens_across_devices", {"average_tokens_across_devices": False}, Outcome.REPLACED, "all devices"),
        ("accelerator_config", {"accelerator_config": {"split_batches": True}}, Outcome.REFUSED, "divide it"),
        ("report_to", {"report_to": "all"}, Outcome.REPLACED, "name the ones you want"),
        ("fp16_backend", {"fp16_backend": "apex"}, Outcome.REFUSED, "auto"),
        ("tpu_num_cores", {"tpu_num_cores": 8}, Outcome.REFUSED, "leave it out"),
        ("debug", {"debug": ["tpu_metrics_debug"]}, Outcome.REFUSED, "underflow_overflow"),
        ("fsdp", {"fsdp": "hybrid_shard"}, Outcome.REFUSED, "full_shard"),
        ("fsdp_config", {"fsdp_config": "fsdp.json"}, Outcome.REFUSED, "write what that file says"),
        ("overwrite_output_dir", {"overwrite_output_dir": True, "resume_from_checkpoint": "a"}, Outcome.INERT, "wins"),
        ("metric_for_best_model", {"metric_for_best_model": "f1"}, Outcome.INERT, "is off"),
        ("logging_steps", {"logging_steps": 0}, Outcome.REFUSED, "logging_strategy"),
        ("sharded_ddp", {"sharded_ddp": "simple"}, Outcome.REFUSED, "fsdp"),
    ],
)
def test_what_is_said(key: str, keys: dict[str, Any], outcome: Outcome, said: str) -> None:
    found = account(key, **keys)
    assert (found.outcome, said in found.note) == (outcome, True), found


@pytest.mark.parametrize(
    ("keys", "setting", "value"),
    [
        ({"lr_scheduler_type": "constant"}, "schedule.warmup_steps", 0),
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
    ],
)
def test_what_it_comes_to(keys: dict[str, Any], setting: str, value: Any) -> None:
    tree: Any = read(TRAINING_ARGUMENTS, {**BASE, **keys}).recipe
    for part in setting.split("."):
        tree = getattr(tree, part)
    assert tree == pytest.approx(value) if isinstance(value, float) else tree == value


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
