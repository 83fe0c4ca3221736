"""ChatGLM3's finetune_demo YAML, and GLM-4's copy of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.dialects.chatglm3 import CHATGLM3, parse, recognises
from luthier.dialects.reading import Account, Outcome, Reading
from luthier.dialects.table import Inert
from luthier.errors import RecipeError
from tests.dialects.argument_flips import FLIPS as ARGUMENT_FLIPS
from tests.dialects.argument_flips import VALUES
from tests.dialects.flips import Flip, differs, makers, read

LORA = """\
data_config:
  train_file: mine.jsonl
  val_file: held.jsonl
  test_file: held.jsonl
  num_proc: 2
max_input_length: 100
max_output_length: 50
training_args:
  output_dir: ./out
  max_steps: 30
  # YAML 1.2 takes this for a number
  learning_rate: 5e-5
  per_device_train_batch_size: 2
  dataloader_num_workers: 4
  remove_unused_columns: false
  save_strategy: steps
  save_steps: 10
  log_level: info
  logging_strategy: steps
  logging_steps: 5
  per_device_eval_batch_size: 4
  evaluation_strategy: steps
  eval_steps: 10
  predict_with_generate: true
  generation_config:
    max_new_tokens: 64
  use_cpu: false
peft_config:
  peft_type: LORA
  task_type: CAUSAL_LM
  r: 4
  lora_alpha: 16
  lora_dropout: 0.1
"""

PREFIX = LORA.split("peft_config:")[0] + "peft_config:\n  peft_type: PREFIX_TUNING\n  num_virtual_tokens: 32\n"

KEYS = [
    "data_config.train_file",
    "data_config.val_file",
    "data_config.test_file",
    "data_config.num_proc",
    "max_input_length",
    "max_output_length",
    "training_args.output_dir",
    "training_args.max_steps",
    "training_args.learning_rate",
    "training_args.per_device_train_batch_size",
    "training_args.dataloader_num_workers",
    "training_args.remove_unused_columns",
    "training_args.save_strategy",
    "training_args.save_steps",
    "training_args.log_level",
    "training_args.logging_strategy",
    "training_args.logging_steps",
    "training_args.per_device_eval_batch_size",
    "training_args.evaluation_strategy",
    "training_args.eval_steps",
    "training_args.predict_with_generate",
    "training_args.generation_config.max_new_tokens",
    "training_args.use_cpu",
    "peft_config.peft_type",
    "peft_config.task_type",
    "peft_config.r",
    "peft_config.lora_alpha",
    "peft_config.lora_dropout",
]

BESIDE_THEM = "peft_config.target_modules peft_config.num_virtual_tokens combine freezeV training_args.eval_strategy"

BASE = {"data_config.train_file": "a.jsonl", "training_args.output_dir": "out"}
GENERATION = "training_args.generation_config."
SAMPLED = {GENERATION + "do_sample": True}

OWN: dict[str, Flip] = {
    "data_config.train_file": Flip("a.jsonl", "b.jsonl"),
    "data_config.val_file": Flip("a.jsonl", "b.jsonl"),
    "data_config.test_file": Flip("a.jsonl", "b.jsonl"),
    "data_config.num_proc": Flip(1, 2),
    "max_input_length": Flip(10, 20),
    "max_output_length": Flip(10, 20),
    "combine": Flip(False, True),
    "peft_config": Flip(None, {"peft_type": "LORA"}),
    "peft_config.peft_type": Flip("LORA", "PREFIX_TUNING"),
    "peft_config.r": Flip(4, 8),
    "peft_config.lora_alpha": Flip(4, 8),
    "peft_config.lora_dropout": Flip(0, 0.1),
    "peft_config.target_modules": Flip("all-linear", ["query_key_value", "dense"]),
    "peft_config.modules_to_save": Flip("lm_head", ["a", "b"]),
    "peft_config.bias": Flip("none", "all"),
    "peft_config.rank_pattern": Flip({"a": 4}, {"a": 8}),
    "peft_config.alpha_pattern": Flip({"a": 4}, {"a": 8}),
    "peft_config.use_dora": Flip(False, True),
    "peft_config.use_rslora": Flip(False, True),
    "peft_config.init_lora_weights": Flip(True, "pissa"),
    "peft_config.fan_in_fan_out": Flip(False, True),
    "peft_config.num_virtual_tokens": Flip(8, 16),
    "peft_config.prefix_projection": Flip(False, True),
    "peft_config.encoder_hidden_size": Flip(8, 16),
    "training_args.use_cpu": Flip(False, True),
    "training_args.no_cuda": Flip(False, True),
    GENERATION + "max_new_tokens": Flip(8, 16),
    GENERATION + "do_sample": Flip(False, True),
    GENERATION + "temperature": Flip(0.5, 0.9, SAMPLED),
    GENERATION + "top_p": Flip(0.5, 0.9, SAMPLED),
    GENERATION + "top_k": Flip(5, 9, SAMPLED),
    GENERATION + "num_beams": Flip(1, 4),
    GENERATION + "repetition_penalty": Flip(1.0, 1.2),
    GENERATION + "min_new_tokens": Flip(1, 2),
    GENERATION + "length_penalty": Flip(0.5, 2.0, {GENERATION + "num_beams": 4}),
}


def prefixed(flip: Flip) -> Flip:
    """The flip of a training argument, below training_args."""
    return Flip(flip.one, flip.other, {f"training_args.{key}": value for key, value in flip.beside.items()})


FLIPS = {**{f"training_args.{name}": prefixed(flip) for name, flip in ARGUMENT_FLIPS.items()}, **OWN}


def account(reading: Reading, key: str) -> Account:
    """The account of a key that the file holds."""
    (found,) = [one for one in reading.accounts if one.key == key and one.outcome is not Outcome.DEFAULT]
    return found


def test_every_key_has_a_row() -> None:
    named = {name for row in CHATGLM3.rows for name in row.names}
    assert {*KEYS, *BESIDE_THEM.split()} <= named


def test_accounts_add_up_and_places_are_lines() -> None:
    reading = CHATGLM3.read(LORA, "lora.yaml", ())
    keys = [one.key for one in reading.accounts if one.outcome is not Outcome.DEFAULT]
    assert keys == KEYS
    assert account(reading, "max_input_length").place == "lora.yaml:6"
    assert account(reading, GENERATION + "max_new_tokens").place == "lora.yaml:26"
    assert [fault.reason for fault in reading.refusals()] == ["model: no model is named"]


def test_a_lora_file() -> None:
    recipe = CHATGLM3.read(LORA, "lora.yaml", ()).recipe
    assert [source.path for source in (*recipe.data.train, *recipe.data.evaluate, *recipe.data.test)] == [
        "mine.jsonl", "held.jsonl", "held.jsonl",
    ]  # fmt: skip
    assert recipe.data.train[0].format == "messages"
    assert (recipe.data.max_length, recipe.data.overlong, recipe.pack.kind) == (151, "truncate", "none")
    assert (recipe.optimizer.lr, recipe.batch.steps, recipe.batch.micro, recipe.batch.evaluate) == (5e-5, 30, 2, 4)
    assert (recipe.evaluate.every, recipe.evaluate.rows, recipe.evaluate.generate) == (10, 50, True)
    assert recipe.evaluate.generation.max_new_tokens == 64
    assert (recipe.adapter.kind, recipe.adapter.rank, recipe.adapter.alpha) == ("lora", 4, 16)
    assert recipe.adapter.targets == ("query_key_value",)
    assert recipe.runtime.gradient_checkpointing
    assert (recipe.precision.compute, recipe.runtime.device) == ("fp16", "auto")


def test_a_prefix_and_full_fine_tuning() -> None:
    prefix = CHATGLM3.read(PREFIX, "p.yaml", ()).recipe
    assert (prefix.adapter.kind, prefix.adapter.virtual_tokens) == ("prefix", 32)
    for nothing in ("", "peft_config:\n", "peft_config: {}\n"):
        full = CHATGLM3.read(LORA.split("peft_config:")[0] + nothing, "f.yaml", ()).recipe
        assert (full.adapter.kind, full.precision.compute) == ("none", "fp32")


def test_on_a_cpu_all_is_fp32() -> None:
    recipe = CHATGLM3.read(LORA.replace("use_cpu: false", "use_cpu: true"), "c.yaml", ()).recipe
    assert (recipe.runtime.device, recipe.model.dtype, recipe.precision.compute) == ("cpu", "fp32", "fp32")


def test_every_row_that_makes_settings_is_flipped() -> None:
    assert sorted(makers(CHATGLM3.rows)) == sorted(FLIPS)


@pytest.mark.parametrize("name", sorted(set(FLIPS) - {"peft_config"}))
def test_another_value_is_another_recipe(name: str) -> None:
    base = {key: value for key, value in BASE.items() if key != name}
    assert differs(CHATGLM3, base, name, FLIPS[name])


@pytest.mark.parametrize(
    ("keys", "key", "outcome", "said"),
    [
        ({"freezeV": True}, "freezeV", Outcome.INERT, "vision tower"),
        ({"combine": True}, "combine", Outcome.APPLIED, "GLM-4"),
        ({"peft_config.peft_type": "ADALORA"}, "peft_config.peft_type", Outcome.REFUSED, "LORA"),
        ({"peft_config.task_type": "SEQ_CLS"}, "peft_config.task_type", Outcome.REFUSED, "CAUSAL_LM"),
        ({GENERATION + "top_p": 0.5}, GENERATION + "top_p", Outcome.INERT, "do_sample is off"),
        ({GENERATION + "num_return_sequences": 2}, GENERATION + "num_return_sequences", Outcome.REFUSED, "write 1"),
        ({GENERATION + "num_return_sequences": 1}, GENERATION + "num_return_sequences", Outcome.INERT, "one answer"),
        ({"peft_config.token_dim": 64}, "peft_config.token_dim", Outcome.INERT, "model itself"),
        ({"peft_config.target_modules": None}, "peft_config.target_modules", Outcome.INERT, "not set"),
        ({"data_config.val_file": None}, "data_config.val_file", Outcome.INERT, "no such rows"),
        ({"training_args.use_cpu": True}, "training_args.use_cpu", Outcome.APPLIED, "cast every weight to fp32"),
        (
            {"training_args.predict_with_generate": False, "data_config.val_file": "t.jsonl"},
            "training_args.predict_with_generate",
            Outcome.APPLIED,
            "crashed",
        ),
        ({"max_input_length": 10}, "max_input_length", Outcome.APPLIED, "one budget"),
        ({"training_args.save_steps": 0}, "training_args.save_steps", Outcome.APPLIED, "at the end"),
    ],
)
def test_what_is_said(keys: dict[str, Any], key: str, outcome: Outcome, said: str) -> None:
    found = account(read(CHATGLM3, {**BASE, **keys}), key)
    assert (found.outcome, said in found.note) == (outcome, True), found


def test_lengths_left_out_are_the_demos() -> None:
    assert read(CHATGLM3, BASE).recipe.data.max_length == 128 + 256 + 1
    assert read(CHATGLM3, {**BASE, "max_output_length": 10}).recipe.data.max_length == 128 + 10 + 1


def test_the_deepspeed_file_is_read_with_it(tmp_path: Path) -> None:
    (tmp_path / "zero.json").write_text('{"zero_optimization": {"stage": 3}, "scheduler": {"type": "WarmupLR"}}')
    text = LORA.replace(
        "  use_cpu: false\n", "  deepspeed: zero.json\n  lr_scheduler_type: cosine\n  warmup_steps: 9\n"
    )
    reading = CHATGLM3.read(text, str(tmp_path / "lora.yaml"), ())
    assert (reading.recipe.parallel.deepspeed, reading.recipe.parallel.stage) == ("zero.json", 3)
    schedule = reading.recipe.schedule
    assert (schedule.kind, schedule.warmup, schedule.warmup_steps) == ("warmup_lr", "log", 1000)
    assert (reading.recipe.optimizer.lr, reading.recipe.optimizer.clip) == (0.001, None)
    assert account(reading, "training_args.lr_scheduler_type").outcome is Outcome.REPLACED
    assert account(reading, "zero.json: scheduler.type").place == "zero.json:1"


def test_a_deepspeed_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    text = LORA.replace("  use_cpu: false\n", "  deepspeed: zero.json\n")
    found = account(CHATGLM3.read(text, str(tmp_path / "lora.yaml"), ()), "training_args.deepspeed")
    assert found.outcome is Outcome.REFUSED
    assert "put it there" in found.note


def test_silence_about_the_command_line_and_validation() -> None:
    reading = read(CHATGLM3, BASE)
    notes = {one.key: one.note for one in reading.accounts if one.outcome is Outcome.DEFAULT}
    assert reading.recipe.checkpoint.resume == "auto"
    assert read(CHATGLM3, {**BASE, "training_args.overwrite_output_dir": True}).recipe.checkpoint.resume == "never"
    assert "only predicted" in notes["auto_resume_from_checkpoint"]
    assert "crashed" in notes["validation_rows"]


def test_glm_4s_copy_is_told_by_its_keys() -> None:
    recipe = read(CHATGLM3, {**BASE, "combine": True, "peft_config.peft_type": "LORA"}).recipe
    assert (recipe.data.template, recipe.precision.compute, recipe.data.last_turn_only) == ("auto", "bf16", True)


def test_every_field_of_pefts_configurations_has_a_row() -> None:
    from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig

    named = {name for row in CHATGLM3.rows for name in row.names}
    kinds = (LoraConfig, PrefixTuningConfig, PromptTuningConfig, IA3Config)
    fields = {f"peft_config.{field.name}" for kind in kinds for field in dataclasses.fields(kind)}
    assert fields - named == set()


def test_tokens_are_masked() -> None:
    reading = read(CHATGLM3, {**BASE, "training_args.hub_token": "hf_secret"})
    assert "hf_secret" not in str(reading.tree())


def test_inert_rows_say_why() -> None:
    assert all(len(row.reason) > 11 for row in CHATGLM3.rows if isinstance(row, Inert))


def test_files_of_others_are_not_taken() -> None:
    assert recognises(parse(LORA, "n"))
    assert not recognises(parse("training_args: {seed: 1}\n", "n"))


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text, "n")
    except RecipeError:
        return


NAMES = sorted(row.name for row in CHATGLM3.rows if row.name not in ("peft_config", "training_args.generation_config"))


@given(st.dictionaries(st.one_of(st.sampled_from(sorted(set(OWN) - {"peft_config"})), st.sampled_from(NAMES)), VALUES))
def test_any_value_is_read_or_refused(keys: dict[str, Any]) -> None:
    try:
        read(CHATGLM3, keys)
    except RecipeError:
        return
