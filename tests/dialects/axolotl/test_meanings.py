"""What an Axolotl file means as a whole: its silence, its keys together, its words."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from luthier.dialects.axolotl import AXOLOTL
from luthier.dialects.axolotl.preference import PREFERENCES
from luthier.dialects.document import Document
from luthier.dialects.reading import Account, Outcome, Reading
from luthier.recipe import Recipe

FILE = """\
base_model: some/model
datasets:
  - path: rows.jsonl
    type: alpaca
"""


def read(more: str = "", file: str = FILE) -> Reading:
    return AXOLOTL.read(file + textwrap.dedent(more), "axolotl.yml", ())


def account(reading: Reading, key: str) -> Account:
    (found,) = [one for one in reading.accounts if one.key == key]
    return found


def setting(recipe: Recipe, dotted: str) -> Any:
    value: Any = recipe
    for part in dotted.split("."):
        value = value[int(part)] if part.isdecimal() else getattr(value, part)
    return value


def test_a_small_file_can_run() -> None:
    assert read().refusals() == ()


@pytest.mark.parametrize(
    ("dotted", "value"),
    [
        ("data.max_length", 512), ("data.overlong", "drop"), ("data.template", "alpaca"), ("data.holdout", 0),
        ("data.train_on", ("assistant",)), ("pack.kind", "none"), ("optimizer.kind", "adamw"),
        ("schedule.kind", "cosine"), ("schedule.warmup_share", 0.03), ("checkpoint.every", "epoch"),
        ("checkpoint.keep_last", 4), ("checkpoint.resume", "auto"), ("evaluate.every", "epoch"),
        ("evaluate.at_start", True), ("precision.compute", "auto"), ("adapter.kind", "none"), ("batch.epochs", 1.0),
        ("output.dir", "./model-out"), ("seed", 42), ("track.every", 0.005), ("method.kind", "sft"),
    ],
)  # fmt: skip
def test_silence(dotted: str, value: Any) -> None:
    assert setting(read().recipe, dotted) == value


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("adapter: qlora\nload_in_4bit: true\nlora_r: 8\nlora_alpha: 16\nlora_target_linear: true", {
            "adapter.kind": "lora", "quantise.bits": 4, "quantise.kind": "nf4", "quantise.double": True,
            "adapter.targets": "all-linear"}),
        ("adapter: lora\nload_in_8bit: true", {"quantise.bits": 8, "adapter.rank": 8}),
        ("sequence_len: 64\nsample_packing: true\nmicro_batch_size: 4", {
            "data.max_length": 64, "pack.length": 256, "batch.micro": 1, "pack.kind": "best_fit"}),
        ("sequence_len: 64\nmicro_batch_size: 4", {"batch.micro": 4, "pack.length": None, "pack.kind": "none"}),
        ("micro_batch_size: 4\nbatch_size: 32", {"batch.micro": 4, "batch.accumulation": 8}),
        ("saves_per_epoch: 1\nnum_epochs: 1", {"checkpoint.every": "epoch"}),
        ("saves_per_epoch: 2\nnum_epochs: 4", {"checkpoint.every": 0.125}),
        ("save_strategy: no", {"checkpoint.every": "never"}),
        ("save_steps: 500\nsave_strategy: steps", {"checkpoint.every": 500}),
        ("eval_strategy: no", {"evaluate.every": "never", "evaluate.at_start": False}),
        ("evals_per_epoch: 4", {"evaluate.every": 0.25, "evaluate.at_start": True}),
        ("evals_per_epoch: 0", {"evaluate.every": "epoch"}),
        ("val_set_size: 200.0", {"data.holdout": 200}),
        ("val_set_size: 0.0", {"data.holdout": 0}),
        ("lr_scheduler: constant\nwarmup_ratio: 0.1", {"schedule.kind": "constant", "schedule.warmup_steps": 0}),
        ("lr_scheduler: constant_with_warmup\nwarmup_ratio: 0.1", {
            "schedule.kind": "constant", "schedule.warmup_steps": None, "schedule.warmup_share": 0.1}),
        ("lr_scheduler: rex", {"schedule.kind": "rex"}),
        ("lr_scheduler: one_cycle\nlr_scheduler_kwargs: {div_factor: 10, pct_start: 0.3}", {
            "schedule.kind": "one_cycle", "schedule.args": {"div_factor": 10}, "schedule.warmup_share": 0.3}),
        ("lr_scheduler: log_sweep\nlog_sweep_min_lr: 1e-6\nwarmup_steps: 9", {
            "schedule.kind": "log_sweep", "schedule.args": {"min_lr": 1e-6}, "schedule.warmup_steps": 9}),
        ("lr_scheduler: reduce_lr_on_plateau\nval_set_size: 0.1\neval_steps: 2", {
            "schedule.kind": "reduce_lr_on_plateau", "schedule.args": {"mode": "min"}, "schedule.warmup_steps": 0}),
        ("lr_scheduler: cosine_with_min_lr\nlr_scheduler_kwargs: {min_lr: 1e-5}\nlearning_rate: 1e-4", {
            "schedule.kind": "cosine", "schedule.minimum": pytest.approx(0.1)}),
        ("optimizer: adamw_bnb_8bit", {"optimizer.kind": "adamw_bnb_8bit"}),
        ("bf16: true", {"precision.compute": "bf16", "model.dtype": "bf16"}),
        ("bf16: false\nfp16: true", {"precision.compute": "fp16", "model.dtype": "auto"}),
        ("attn_implementation: kernels-community/some-flash-attn3", {"model.attention": "flash"}),
        ("fsdp: [full_shard, auto_wrap]\nfsdp_config:\n  fsdp_offload_params: true\n  "
         "fsdp_transformer_layer_cls_to_wrap: LlamaDecoderLayer\n  activation_checkpointing: true", {
            "parallel.engine": "fsdp", "parallel.stage": 3, "parallel.offload_parameters": True,
            "parallel.wrap": ("LlamaDecoderLayer",), "runtime.gradient_checkpointing": True}),
        ("wandb_project: one\nuse_tensorboard: true", {"track.to": ("wandb", "tensorboard"), "track.project": "one"}),
        ("use_wandb: false\nwandb_project: one", {"track.to": ()}),
        ("hub_model_id: me/mine", {
            "output.hub.push": True, "output.hub.private": True, "output.hub.strategy": "every_save"}),
        ("gradient_checkpointing: unsloth", {"runtime.gradient_checkpointing": True}),
        ("test_datasets:\n  - {path: test.jsonl, type: alpaca}", {
            "data.evaluate.0.path": "test.jsonl", "data.evaluate.0.format": "alpaca"}),
    ],
)  # fmt: skip
def test_keys_together(more: str, expected: dict[str, Any]) -> None:
    recipe = read(more + "\n").recipe
    assert {dotted: setting(recipe, dotted) for dotted in expected} == expected


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("{path: a/b, type: chat_template, field_messages: talk}", {
            "train.0.format": "messages", "train.0.columns": {"messages": "talk"}, "template": "auto"}),
        ("{path: a/b, type: completion, field: chapter}", {
            "train.0.format": "text", "train.0.columns": {"text": "chapter"}, "overlong": "split"}),
        ("{path: a/b, type: sharegpt, conversation: chatml}", {"train.0.format": "messages", "template": "chatml"}),
        ("{path: a/b, type: alpaca, split: 'train[:100]'}", {"train.0.split": "train", "train.0.rows": 100}),
        ("{path: a/b, type: alpaca, split: 'train[:5%]'}", {"train.0.split": "train[:5%]", "train.0.rows": None}),
        ("{path: a/b, type: alpaca, shards: 4, shards_idx: 2, skip: 5}", {
            "train.0.shards": 4, "train.0.shard": 2, "train.0.skip": 5}),
        ("{path: json, data_files: [a.jsonl], ds_type: json, type: alpaca}", {"train.0.path": "a.jsonl"}),
        ("{path: a/b, type: chat_template, roles_to_train: [gpt, human]}", {"train_on": ("user", "assistant")}),
    ],
)  # fmt: skip
def test_datasets(dataset: str, expected: dict[str, Any]) -> None:
    reading = read(file=f"base_model: a/b\ndatasets:\n  - {dataset}\n")
    assert reading.refusals() == ()
    assert {dotted: setting(reading.recipe, f"data.{dotted}") for dotted in expected} == expected


def test_pretraining_is_told_from_its_dataset() -> None:
    reading = read(file="base_model: a/b\npretraining_dataset:\n  - {path: a/c4, name: en, type: pretrain}\n")
    assert reading.refusals() == ()
    assert (reading.recipe.method.kind, reading.recipe.data.train[0].format) == ("pretrain", "text")
    assert (reading.recipe.pack.kind, reading.recipe.data.overlong) == ("best_fit", "split")


@pytest.mark.parametrize("said", ["", "streaming: true\n", "streaming: false\n", "streaming: null\n"])
@pytest.mark.parametrize("texts", ["a/c4", "\n  - {path: a/c4}", "\n  - {path: a/c4}\n  - {path: a/books}"])
def test_texts_of_pretraining_are_streamed_unless_the_file_says_no(texts: str, said: str) -> None:
    reading = read(file=f"base_model: a/b\n{said}pretraining_dataset: {texts}\n")
    assert reading.refusals() == ()
    assert {source.streaming for source in reading.recipe.data.train} == {said != "streaming: false\n"}


@pytest.mark.parametrize(("said", "expected"), [("", False), ("streaming: true\n", True), ("streaming: null\n", False)])
def test_other_rows_are_streamed_if_the_file_says_so(said: str, expected: bool) -> None:
    reading = read(file=f"base_model: a/b\n{said}datasets:\n  - {{path: a/c4}}\n  - {{path: a/books}}\n")
    assert reading.refusals() == ()
    assert [source.streaming for source in reading.recipe.data.train] == [expected] * 2


@pytest.mark.parametrize(
    ("more", "key", "said"),
    [
        ("adapter: qlora", "adapter", "load_in_4bit"),
        ("adapter: ia3", "adapter", "write lora or qlora"),
        ("load_in_4bit: true\nload_in_8bit: true", "load_in_8bit", "keep one"),
        ("batch_size: 7\nmicro_batch_size: 4", "batch_size", "no multiple"),
        ("batch_size: 8\nmicro_batch_size: 4\ngradient_accumulation_steps: 3", "batch_size", "not 3"),
        ("warmup_steps: 5\nwarmup_ratio: 0.1", "warmup_ratio", "keep one"),
        ("evals_per_epoch: 4\neval_steps: 5", "eval_steps", "keep one"),
        ("flash_attention: true\nsdp_attention: true", "sdp_attention", "keep one"),
        ("attn_implementation: paged", "attn_implementation", "is not there"),
        ("bf16: true\nfp16: true", "fp16", "keep one"),
        ("rl: grpo", "rl", "own samples"),
        ("optimizer: adamw_trch", "optimizer", "did you mean adamw_torch"),
        ("lr_scheduler: cosin", "lr_scheduler", "did you mean cosine"),
        ("plugins: [my.plugin.Plugin]", "plugins", "not run"),
        ("model_type: AutoModelForImageTextToText", "model_type", "no causal language model"),
        ("val_set_size: 1", "val_set_size", "number of rows above 1"),
        ("wandb_project: a\nswanlab_project: b", "swanlab_project", "the same one"),
        ("learning_rate: fast", "learning_rate", "not a value that learning_rate takes"),
        ("sequence_len: 12.5", "sequence_len", "not a value that sequence_len takes"),
        ("lora_target_linear: true\nlora_target_modules: [lm_head]", "lora_target_modules", "keep lora_target_linear"),
        ("lr_scheduler_kwargs: {waves: 2}", "lr_scheduler_kwargs", "no waves"),
        ("rl: dpo\ndpo_loss_type: [sigmoid, hinge]", "dpo_loss_type", "not there"),
        ("rl: dpo\ndpo_use_weighting: true", "dpo_use_weighting", "not there"),
        ("load_4bit: true", "load_4bit", "load_in_4bit"),
        ("adapter: lora\npeft_layers_to_transform: [1]", "peft_layers_to_transform", "list the modules"),
    ],
)  # fmt: skip
def test_refusals(more: str, key: str, said: str) -> None:
    found = account(read(more + "\n"), key)
    assert found.outcome is Outcome.REFUSED
    assert said in found.note


@pytest.mark.parametrize("judged", [*(f"rl: {one}" for one in PREFERENCES), "reward_model: true"])
def test_an_adapter_has_no_dropout_where_answers_are_judged(judged: str) -> None:
    """TRL's trainers set every nn.Dropout to 0 once the adapter is there; Axolotl does not tell them otherwise."""
    reading = read(f"adapter: lora\nlora_dropout: 0.1\n{judged}\n")
    found = account(reading, "lora_dropout")
    assert found.outcome is Outcome.REPLACED and "an adapter's too" in found.note
    assert reading.refusals() != () or reading.recipe.adapter.dropout == 0


def test_an_adapter_keeps_its_dropout_where_answers_are_learned() -> None:
    assert read("adapter: lora\nlora_dropout: 0.1\n").recipe.adapter.dropout == 0.1


@pytest.mark.parametrize(
    ("dataset", "key", "said"),
    [
        ("{path: a/b, type: jeopardi}", "type", "did you mean jeopardy"),
        ("{path: a/b, type: stepwise_supervised}", "type", "judge the steps"),
        ("{path: a/b, type: chat_template, chat_template: pixtral}", "chat_template", "'pixtral'"),
        ("{path: a/b, type: chat_template, roles: {judge: [asker]}}", "roles", "'judge'"),
        ("{path: a/b, type: chat_template, roles_to_train: [judge]}", "roles_to_train", "'judge'"),
        ("{path: a/b, type: chat_template, train_on_eos: first}", "train_on_eos", "write turn, all, last or none"),
        ("{path: a/b, type: chat_template, chat_template_jinja: '{{ x }}'}", "chat_template_jinja", "save it"),
    ],
)  # fmt: skip
def test_refusals_of_datasets(dataset: str, key: str, said: str) -> None:
    found = account(read(file=f"base_model: a/b\ndatasets:\n  - {dataset}\n"), f"datasets.0.{key}")
    assert found.outcome is Outcome.REFUSED
    assert said in found.note


@pytest.mark.parametrize(
    ("name", "likely"),
    [
        ("Owner/Some - 7b - hf", "Owner/Some-7b-hf"),
        ("Owner/Some\u20137b", "Owner/Some-7b"),
        ("\u201cOwner/Some-7b\u201d", "Owner/Some-7b"),
        ("Owner / Some-7b", "Owner/Some-7b"),
    ],
)
def test_a_damaged_name_is_refused_with_the_likely_one(name: str, likely: str) -> None:
    reading = read(file=FILE.replace("some/model", f"'{name}'"))
    assert f"write {likely!r}" in account(reading, "base_model").note
    assert reading.recipe.model.path == name
    assert [fault.place for fault in reading.refusals()] == ["axolotl.yml:1"]


def test_a_folder_may_have_spaces() -> None:
    assert read(file=FILE.replace("some/model", "./my models/one two")).refusals() == ()


def test_yaml_1_1() -> None:
    recipe = read(
        """
        learning_rate: 2e-5
        flash_attention: on
        tf32: off
        sequence_len: 1_024
        gradient_accumulation_steps: 010
        wandb_log_model: no
        """
    ).recipe
    assert recipe.optimizer.lr == 2e-5
    assert (recipe.model.attention, recipe.precision.tf32) == ("flash", False)
    assert (recipe.data.max_length, recipe.batch.accumulation) == (1024, 8)
    assert recipe.track.log_model is None


def test_accounts_add_up_to_the_keys_of_the_file() -> None:
    reading = read("lora_r:\nfsdp_config: {a: 1, b: 2}\nspecial_tokens: {pad_token: <p>}\nsurprise: 1\n")
    assert [one.key for one in reading.accounts if one.outcome is not Outcome.DEFAULT] == [
        "base_model", "datasets.0.path", "datasets.0.type", "lora_r", "fsdp_config", "special_tokens.pad_token",
        "surprise",
    ]  # fmt: skip
    assert "not a key of axolotl" in account(reading, "surprise").note


def test_places_are_lines() -> None:
    reading = read("# a comment\nnum_epochs: 2\n")
    assert account(reading, "datasets.0.type").place == "axolotl.yml:4"
    assert account(reading, "num_epochs").place == "axolotl.yml:6"


@pytest.mark.parametrize(
    ("keys", "ours"),
    [
        ({"base_model": "a/b", "datasets": []}, True),
        ({"base_model": "a/b", "pretraining_dataset": []}, True),
        ({"base_model": "a/b", "sequence_len": 1, "surprise": 2}, True),
        ({"base_model": "a/b"}, False),
        ({"model": {"path": "a/b"}, "data": {}}, False),
        ({"data_config": {}, "max_input_length": 256, "training_args": {}, "peft_config": {}}, False),
        ({"model_name_or_path": "a/b", "train_file": "c"}, False),
        ([], False),
    ],
)
def test_detection(keys: Any, ours: bool) -> None:
    assert AXOLOTL.recognises(Document("x", keys)) is ours
