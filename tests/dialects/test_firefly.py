"""Firefly's JSON: today's, the older one without templates, and the fork that reads a CSV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.dialects.firefly import FIREFLY, TEMPLATES, UNTEMPLATED, parse, recognises
from luthier.dialects.reading import Account, Outcome
from luthier.dialects.table import Inert
from luthier.errors import RecipeError
from tests.dialects.argument_flips import FLIPS as ARGUMENT_FLIPS
from tests.dialects.argument_flips import VALUES
from tests.dialects.flips import Flip, differs, makers, read

FORK: dict[str, Any] = {
    "output_dir": "out/tiny",
    "model_name_or_path": "models/tiny",
    "train_file_path": "rows",
    "train_file_name": "questions.csv",
    "template_name": "qwen",
    "train_mode": "lora",
    "num_train_epochs": 2,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 8,
    "learning_rate": 1e-4,
    "max_seq_length": 512,
    "logging_steps": 10,
    "save_steps": 50,
    "save_total_limit": 1,
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_steps": 20,
    "lora_rank": 8,
    "lora_alpha": 32,
    "lora_dropout": 0.1,
    "gradient_checkpointing": True,
    "disable_tqdm": False,
    "optim": "paged_adamw_32bit",
    "seed": 7,
    "fp16": True,
    "report_to": "tensorboard",
    "dataloader_num_workers": 0,
    "save_strategy": "steps",
    "weight_decay": 0,
    "max_grad_norm": 0.5,
    "remove_unused_columns": False,
}

BASE: dict[str, Any] = {
    "output_dir": "out",
    "model_name_or_path": "m",
    "train_file": "a.jsonl",
    "template_name": "default",
    "max_seq_length": 64,
    "bf16": True,
}
DPO = {"task_type": "dpo", "train_mode": "lora"}
PRETRAIN = {"task_type": "pretrain", "train_mode": "full"}

OWN: dict[str, Flip] = {
    "model_name_or_path": Flip("a", "b"),
    "train_file": Flip("a.jsonl", "b.jsonl"),
    "train_file_path": Flip("a", "b", {"train_file_name": "q.csv"}),
    "train_file_name": Flip("a.csv", "b.csv", {"train_file_path": "rows"}),
    "task_type": Flip("sft", "dpo"),
    "train_mode": Flip("lora", "qlora"),
    "template_name": Flip("qwen", "llama3"),
    "max_seq_length": Flip(64, 128),
    "max_prompt_length": Flip(10, 20, DPO),
    "beta": Flip(0.1, 0.2, DPO),
    "lora_rank": Flip(8, 16),
    "lora_alpha": Flip(8, 16),
    "lora_dropout": Flip(0, 0.1),
    "tokenize_num_workers": Flip(1, 2),
    "use_unsloth": Flip(False, True),
    "fp16": Flip(False, True),
    "bf16": Flip(False, True),
}


def base(name: str) -> dict[str, Any]:
    """The keys beside a flipped one: no second source of rows, and the other half precision the other way round."""
    kept = {key: value for key, value in BASE.items() if key != name}
    if name.startswith("train_file_"):
        del kept["train_file"]
    return kept


def account(keys: dict[str, Any], key: str) -> Account:
    """The account of a key that the file holds."""
    (found,) = [one for one in read(FIREFLY, keys).accounts if one.key == key and one.outcome is not Outcome.DEFAULT]
    return found


def test_every_key_of_the_fork_has_a_row_and_an_account() -> None:
    named = {name for row in FIREFLY.rows for name in row.names}
    assert len(FORK) == 30
    assert set(FORK) <= named
    reading = read(FIREFLY, FORK)
    given = [one for one in reading.accounts if one.outcome is not Outcome.DEFAULT]
    assert [(one.key, one.place) for one in given] == [(key, f"recipe:{line}") for line, key in enumerate(FORK, 2)]
    assert not reading.refusals()


def test_the_fork_reads_a_table_that_is_written_out_as_json_lines() -> None:
    (source,) = read(FIREFLY, FORK).recipe.data.train
    assert (source.path, source.format) == ("rows/csv/questions.csv", "human_assistant")
    assert source.as_jsonl and "written out as JSONL" in account(FORK, "train_file_name").note


def test_every_row_that_makes_settings_is_flipped() -> None:
    named = set(makers(FIREFLY.rows))
    assert named == {*OWN, *(name for name in ARGUMENT_FLIPS if name in named)}


@pytest.mark.parametrize("name", sorted({*OWN, *ARGUMENT_FLIPS} & set(makers(FIREFLY.rows)) - {"fp16", "bf16"}))
def test_another_value_is_another_recipe(name: str) -> None:
    assert differs(FIREFLY, base(name), name, OWN.get(name) or without_half(ARGUMENT_FLIPS[name]))


def without_half(flip: Flip) -> Flip:
    """The flip, with fp16 asked for in bf16's place, never beside it."""
    return Flip(flip.one, flip.other, {**flip.beside, **({"bf16": False} if "fp16" in flip.beside else {})})


def test_exactly_one_half_precision() -> None:
    without = base("bf16")
    recipes = [read(FIREFLY, {**without, "fp16": half, "bf16": not half}).recipe for half in (True, False)]
    assert [(one.precision.compute, one.model.dtype, one.quantise.compute) for one in recipes] == [
        ("fp16",) * 3,
        ("bf16",) * 3,
    ]
    for both in (True, False):
        assert account({**without, "fp16": both, "bf16": both}, "fp16").outcome is Outcome.REFUSED
    full = read(FIREFLY, {**BASE, "train_mode": "full"}).recipe
    assert (full.precision.compute, full.model.dtype) == ("bf16", "auto")


def test_what_silence_means() -> None:
    recipe = read(FIREFLY, BASE).recipe
    assert (recipe.method.kind, recipe.adapter.kind, recipe.quantise.bits) == ("sft", "lora", 4)
    assert (recipe.quantise.kind, recipe.quantise.double) == ("nf4", True)
    assert (recipe.adapter.rank, recipe.adapter.alpha, recipe.adapter.dropout) == (64, 16, 0.05)
    assert (recipe.adapter.targets, recipe.data.overlong, recipe.pack.kind) == ("all-linear", "truncate", "none")
    preferences = read(FIREFLY, {**BASE, **DPO}).recipe
    assert (preferences.method.kind, preferences.method.beta) == ("dpo", 0.1)
    assert preferences.method.max_prompt_length == 512


@pytest.mark.parametrize("more", [{}, {"lora_dropout": 0.1}], ids=["silence", "said"])
def test_an_adapter_has_no_dropout_where_answers_are_judged(more: dict[str, Any]) -> None:
    """TRL's DPOTrainer sets every nn.Dropout to 0 once the adapter is there, unless it is told otherwise."""
    keys = {key: value for key, value in BASE.items() if key != "lora_dropout"}
    reading = read(FIREFLY, {**keys, **DPO, **more})
    assert reading.recipe.adapter.dropout == 0
    (found,) = [one for one in reading.accounts if one.key == "lora_dropout"]
    assert "an adapter's too" in found.note


def test_pretraining_joins_texts() -> None:
    keys = {key: value for key, value in BASE.items() if key != "template_name"}
    recipe = read(FIREFLY, {**keys, **PRETRAIN}).recipe
    assert (recipe.method.kind, recipe.pack.kind, recipe.data.overlong) == ("pretrain", "concatenate", "split")
    assert recipe.data.train[0].format == "text"
    assert recipe.data.template == "auto"


def test_the_older_generation_has_no_template() -> None:
    keys = {key: value for key, value in BASE.items() if key != "template_name"}
    older = read(FIREFLY, {**keys, "lora_rank": 8}).recipe
    assert (older.data.template, older.adapter.kind, older.quantise.bits) == (UNTEMPLATED, "lora", 4)
    assert read(FIREFLY, keys).recipe.adapter.kind == "none"


def test_all_templates_are_known_and_others_are_refused_with_the_nearest() -> None:
    assert len(TEMPLATES) == 23
    for name in TEMPLATES:
        assert read(FIREFLY, {**BASE, "template_name": name}).recipe.data.template == f"firefly/{name}"
    found = account({**BASE, "template_name": "qwem"}, "template_name")
    assert (found.outcome, "did you mean qwen?" in found.note) == (Outcome.REFUSED, True)
    assert "write one of" in account({**BASE, "template_name": "0000"}, "template_name").note


@pytest.mark.parametrize(
    ("keys", "key", "outcome", "said"),
    [
        ({"eval_file": "e.jsonl"}, "eval_file", Outcome.INERT, "never reads it"),
        ({"task_type": "rlhf"}, "task_type", Outcome.REFUSED, "write one of"),
        ({"train_mode": "qlora2"}, "train_mode", Outcome.REFUSED, "did you mean qlora?"),
        ({"use_unsloth": True}, "use_unsloth", Outcome.REPLACED, "gradient checkpointing"),
        ({"train_file_path": "rows"}, "train_file_path", Outcome.REFUSED, "train_file_name"),
        ({"deepspeed": "z3.json"}, "deepspeed", Outcome.REFUSED, "put it there"),
        ({}, "max_seq_length", Outcome.APPLIED, "NaN"),
        ({"train_flie": "x"}, "train_flie", Outcome.INERT, "did you mean train_file?"),
        ({"task_type": None}, "task_type", Outcome.INERT, "null"),
        ({"train_mode": None}, "train_mode", Outcome.INERT, "null"),
        ({"template_name": None}, "template_name", Outcome.INERT, "null"),
    ],
)
def test_what_is_said(keys: dict[str, Any], key: str, outcome: Outcome, said: str) -> None:
    found = account({**BASE, **keys}, key)
    assert (found.outcome, said in found.note) == (outcome, True), found


DS = {
    "optimizer": {"type": "Adam", "params": {"lr": "auto", "weight_decay": "auto"}},
    "scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": "auto", "warmup_num_steps": "auto"}},
    "zero_optimization": {"stage": 3},
    "gradient_accumulation_steps": "auto",
}


def test_the_deepspeed_file_is_read_and_its_blocks_win(tmp_path: Path) -> None:
    """The file lies where Firefly keeps it, and the JSON two folders below."""
    (tmp_path / "train_args" / "sft" / "full").mkdir(parents=True)
    (tmp_path / "train_args" / "ds.json").write_text(json.dumps(DS, indent=1))
    keys = {**BASE, "deepspeed": "./train_args/ds.json", "lr_scheduler_type": "cosine", "optim": "adamw_hf"}
    keys |= {"learning_rate": 3e-5, "warmup_ratio": 0.01, "weight_decay": 0.1}
    reading = FIREFLY.read(json.dumps(keys), str(tmp_path / "train_args" / "sft" / "full" / "a.json"), ())
    accounts = {one.key: one for one in reading.accounts}
    assert not reading.refusals()
    recipe = reading.recipe
    assert (recipe.parallel.engine, recipe.parallel.stage) == ("deepspeed", 3)
    assert (recipe.schedule.kind, recipe.schedule.warmup_share) == ("warmup_lr", 0.01)
    assert (recipe.optimizer.kind, recipe.optimizer.lr, recipe.optimizer.weight_decay) == ("adamw", 3e-5, 0.1)
    assert accounts["lr_scheduler_type"].outcome is accounts["optim"].outcome is Outcome.REPLACED
    assert "replaces the recipe's own schedule" in accounts["ds.json: scheduler.type"].note
    assert accounts["ds.json: optimizer.params.lr"].note == "auto: optimizer.lr, as the recipe says it"


def test_gradient_checkpointing_under_unsloth() -> None:
    assert read(FIREFLY, {**BASE, "use_unsloth": True}).recipe.runtime.gradient_checkpointing
    off = read(FIREFLY, {**BASE, "use_unsloth": True, "gradient_checkpointing": False})
    assert not off.refusals()
    assert not off.recipe.runtime.gradient_checkpointing


def test_inert_rows_say_why() -> None:
    assert all(len(row.reason) > 15 for row in FIREFLY.rows if isinstance(row, Inert))


def test_files_of_others_are_not_taken() -> None:
    assert recognises(parse(json.dumps(BASE), "n"))
    assert recognises(parse(json.dumps(FORK), "n"))
    assert not recognises(parse('{"model_name_or_path": "a", "learning_rate": 1}', "n"))
    assert not recognises(parse('{"zero_optimization": {}}', "n"))
    with pytest.raises(RecipeError):
        parse("train_file: a\n", "n")


@given(st.text(), st.sampled_from(["", "{", '{"a": ']))
def test_any_text_is_read_or_refused(text: str, head: str) -> None:
    try:
        parse(head + text, "n")
    except RecipeError:
        return


NAMES = sorted(row.name for row in FIREFLY.rows)


@given(st.dictionaries(st.one_of(st.sampled_from(sorted(OWN)), st.sampled_from(NAMES)), VALUES, max_size=5))
def test_any_value_is_read_or_refused(keys: dict[str, Any]) -> None:
    try:
        read(FIREFLY, keys)
    except RecipeError:
        return
