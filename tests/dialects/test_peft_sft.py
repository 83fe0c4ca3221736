"""The fine-tuning script of PEFT's examples: shell scripts, command lines, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.dialects.companion import Yielding
from luthier.dialects.peft_sft import LAUNCHER, PEFT_SFT, recognises
from luthier.dialects.peft_sft_environment import ENVIRONMENT
from luthier.dialects.peft_sft_model import MODEL
from luthier.dialects.peft_sft_rows import DATA
from luthier.dialects.reading import Account, Outcome, Reading
from luthier.dialects.table import Inert, Row
from luthier.errors import RecipeError

FLAGS: dict[str, Any] = {
    "seed": 7,
    "model_name_or_path": "some/base",
    "dataset_name": "some/chats",
    "chat_template_format": "chatml",
    "add_special_tokens": False,
    "append_concat_token": False,
    "splits": "train,test",
    "max_seq_len": 1024,
    "num_train_epochs": 2,
    "logging_steps": 5,
    "log_level": "info",
    "logging_strategy": "steps",
    "evaluation_strategy": "epoch",
    "save_strategy": "steps",
    "save_steps": 50,
    "save_total_limit": 3,
    "bf16": True,
    "packing": True,
    "learning_rate": "1e-4",
    "lr_scheduler_type": "cosine",
    "weight_decay": "1e-4",
    "warmup_ratio": 0.0,
    "max_grad_norm": 1.0,
    "output_dir": "out/sft",
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "use_flash_attn": True,
    "gradient_checkpointing": True,
    "use_reentrant": True,
    "dataset_text_field": "content",
    "use_peft_lora": True,
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.1,
    "lora_target_modules": "all-linear",
    "use_4bit_quantization": True,
    "use_nested_quant": True,
    "bnb_4bit_compute_dtype": "bfloat16",
    "bnb_4bit_quant_storage_dtype": "bfloat16",
    "resume_from_checkpoint": "out/sft/checkpoint-50",
}

ZERO3 = """\
compute_environment: LOCAL_MACHINE
deepspeed_config:
  gradient_accumulation_steps: 4
  zero_stage: 3
distributed_type: DEEPSPEED
mixed_precision: bf16
num_processes: 2
"""


def script(head: str = "python train.py", **flags: Any) -> str:
    return " \\\n  ".join([head, *(f"--{name} {value}" for name, value in flags.items())]) + "\n"


def read(text: str, name: str = "run.sh") -> Reading:
    return PEFT_SFT.read(text, name, [])


def by_key(reading: Reading) -> dict[str, Account]:
    return {account.key: account for account in reading.accounts if account.outcome is not Outcome.DEFAULT}


def with_flags(**flags: Any) -> Reading:
    return read(script(**{"model_name_or_path": "m", "dataset_name": "d", **flags}))


def test_there_is_a_row_for_each_of_the_scripts_flags() -> None:
    assert len(FLAGS) == 41
    names = {name for row in PEFT_SFT.rows for name in row.names}
    assert set(FLAGS) <= names


def test_accounts_add_up_with_the_launchers_file(tmp_path: Path) -> None:
    folder = tmp_path / "examples" / "sft"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "z3.yaml").write_text(ZERO3)
    head = "WANDB_PROJECT=p accelerate launch --config_file examples/sft/configs/z3.yaml examples/sft/train.py"
    reading = read(script(head, **FLAGS), str(folder / "run.sh"))
    before = {"environment.WANDB_PROJECT", "launcher.program", "launcher.config_file", "launcher.script"}
    within = ("compute_environment", "deepspeed_config.gradient_accumulation_steps", "deepspeed_config.zero_stage",
              "distributed_type", "mixed_precision", "num_processes")  # fmt: skip
    assert set(by_key(reading)) == {*FLAGS, *before, *(f"z3.yaml: {key}" for key in within)}
    assert not reading.refusals()
    recipe = reading.recipe
    assert (recipe.parallel.engine, recipe.parallel.stage, recipe.batch.world) == ("deepspeed", 3, 2)
    assert recipe.data.train[0].path == "some/chats"
    assert (recipe.data.train[0].split, recipe.data.evaluate[0].split) == ("train", "test")
    assert recipe.data.train_on == ("system", "user", "assistant", "tool", "template")
    assert (recipe.data.max_length, recipe.pack.kind, recipe.data.template) == (1024, "best_fit", "chatml")
    assert recipe.tokenizer.added_special[0] == "<|im_start|>user"
    assert (recipe.quantise.bits, recipe.quantise.storage, recipe.model.dtype) == (4, "bf16", "bf16")
    assert recipe.checkpoint.resume == "out/sft/checkpoint-50"
    assert by_key(reading)["packing"].outcome is Outcome.REPLACED


def test_a_launchers_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    reading = read(script("accelerate launch --config_file gone.yaml train.py", **FLAGS), str(tmp_path / "run.sh"))
    found = by_key(reading)["launcher.config_file"]
    assert found.outcome is Outcome.REFUSED
    assert "gone.yaml" in found.note


LORA = {"use_peft_lora": True}
FOUR = {**LORA, "use_4bit_quantization": True}

FLIPS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "model_name_or_path": ("a", "b", {}),
    "use_peft_lora": (False, True, {}),
    "lora_r": (8, 9, LORA),
    "lora_alpha": (8, 9, LORA),
    "lora_dropout": (0.1, 0.2, LORA),
    "lora_target_modules": ("all-linear", "q_proj,v_proj", LORA),
    "use_4bit_quantization": (False, True, LORA),
    "use_8bit_quantization": (False, True, LORA),
    "use_nested_quant": (False, True, FOUR),
    "bnb_4bit_quant_type": ("nf4", "fp4", FOUR),
    "bnb_4bit_compute_dtype": ("float16", "bfloat16", FOUR),
    "bnb_4bit_quant_storage_dtype": ("uint8", "float16", FOUR),
    "use_flash_attn": (False, True, {}),
    "use_reentrant": (False, True, {"gradient_checkpointing": True}),
    "use_unsloth": (False, True, {}),
    "use_loftq": (False, True, LORA),
    "use_gradient_checkpointing": (False, True, {}),
    "dataset_name": ("a", "b", {}),
    "splits": ("train_sft,test_sft", "train", {}),
    "dataset_text_field": ("text", "body", {}),
    "add_special_tokens": (False, True, {}),
    "append_concat_token": (False, True, {"packing": True}),
    "chat_template_format": ("chatml", "zephyr", {}),
    "max_seq_length": (64, 128, {}),
    "max_seq_len": (64, 128, {}),
    "packing": (False, True, {}),
    "resume_from_checkpoint": ("a/checkpoint-1", "a/checkpoint-2", {}),
    "test_size": (0.1, 50, {"splits": "train"}),
}

MAKING = [row for row in (*MODEL, *DATA) if row.targets]


@pytest.mark.parametrize("row", MAKING, ids=lambda row: row.name)
def test_a_flipped_value_changes_the_recipe(row: Row) -> None:
    one, other, base = FLIPS[row.name]
    first, second = (with_flags(**{**base, row.name: value}) for value in (one, other))
    assert first.recipe != second.recipe
    assert by_key(second)[row.name].outcome in (Outcome.APPLIED, Outcome.REPLACED)


BEFORE: dict[str, tuple[str, str]] = {
    "environment.WANDB_DISABLED": ("false", "true"),
    "environment.WANDB_WATCH": ("false", "gradients"),
    "environment.WANDB_LOG_MODEL": ("false", "end"),
    "environment.WANDB_MODE": ("online", "offline"),
    "environment.CUDA_VISIBLE_DEVICES": ("0,1", "-1"),
    "environment.OMP_NUM_THREADS": ("1", "2"),
}


@pytest.mark.parametrize("row", [row for row in ENVIRONMENT if row.targets], ids=lambda row: row.name)
def test_a_flipped_word_of_the_environment_changes_the_recipe(row: Row) -> None:
    one, other = BEFORE.get(row.name, ("a", "b"))
    word = row.name.removeprefix("environment.")
    tracked = {} if word in ("WANDB_DISABLED", "WANDB_MODE") and other == "true" else {"report_to": "wandb"}
    readings = [read(script(f"{word}={value} python train.py", dataset_name="d", **tracked)) for value in (one, other)]
    if row.name == "environment.WANDB_DISABLED":
        assert by_key(readings[1])[row.name].target == "track.to"
        return
    assert readings[0].recipe != readings[1].recipe
    assert by_key(readings[1])[row.name].outcome is Outcome.APPLIED


WORDS: dict[str, tuple[Any, Any]] = {
    "mixed_precision": ("no", "fp16"),
    "offload_optimizer_device": ("none", "cpu"),
    "offload_param_device": ("none", "cpu"),
    "fsdp_sharding_strategy": ("NO_SHARD", "FULL_SHARD"),
    "fsdp_reshard_after_forward": (True, False),
    "fsdp_transformer_layer_cls_to_wrap": ("A", "B"),
    "fsdp_auto_wrap_policy": ("SIZE_BASED_WRAP", "NO_WRAP"),
    "dynamo_backend": ("no", "inductor"),
    "dynamo_mode": ("default --dynamo_backend inductor", "max-autotune --dynamo_backend inductor"),
    **dict.fromkeys(("use_cpu", "fsdp_offload_params", "fsdp_activation_checkpointing"), (False, True)),
    **dict.fromkeys(("multi_gpu", "use_deepspeed", "use_fsdp", "use_megatron_lm", "fp16"), (False, True)),
    **dict.fromkeys(("parallelism_config_sp_size", "parallelism_config_tp_size"), (2, 4)),
    **{f"megatron_lm_{name}": (2, 4) for name in ("tp_degree", "context_parallel_size", "num_micro_batches")},
}


OF_A_FILE = "launcher.deepspeed_config_file"
"""Needs its file; test_accelerate has the test of it."""


@pytest.mark.parametrize(
    "row", [row for row in LAUNCHER if row.targets and row.name != OF_A_FILE], ids=lambda row: row.name
)
def test_a_flipped_word_of_the_launcher_changes_the_recipe(row: Row) -> None:
    word = row.name.removeprefix("launcher.")
    engine = "" if word in ("multi_gpu", "use_deepspeed", "use_fsdp", "use_megatron_lm") else "--use_fsdp"
    texts = [
        script(f"accelerate launch {engine} --{word} {value} train.py", dataset_name="d", model_name_or_path="m")
        for value in WORDS.get(word, (1, 2))
    ]
    first, second = map(read, texts)
    assert first.recipe != second.recipe
    assert by_key(second)[row.name].outcome in (Outcome.APPLIED, Outcome.REPLACED)


def test_an_old_word_of_the_launcher_counts_like_todays() -> None:
    head = "accelerate launch --parallelism_config_cp_size 2 train.py"
    assert read(script(head, dataset_name="d", model_name_or_path="m")).recipe.parallel.context == 2


@pytest.mark.parametrize(
    ("head", "world", "engine"),
    [
        ("accelerate launch --use_megatron_lm --num_processes 2 --fp8_format HYBRID train.py", 2, "fsdp"),
        ("torchrun --nproc_per_node 4 --nnodes 2 train.py", 8, "auto"),
        ("deepspeed --num_gpus 4 train.py", 4, "auto"),
        ("accelerate launch --num_processes 2 --multi_gpu train.py", 2, "ddp"),
        ("accelerate launch --use_deepspeed --num_processes 2 --zero_stage 2 train.py", 2, "deepspeed"),
        ("accelerate launch --use_fsdp --num_processes 2 --fsdp_sharding_strategy 1 train.py", 2, "fsdp"),
    ],
)
def test_launchers_words(head: str, world: int, engine: str) -> None:
    recipe = read(script(head, model_name_or_path="m", dataset_name="d")).recipe
    assert (recipe.batch.world, recipe.parallel.engine) == (world, engine)


def test_what_cannot_matter_says_why() -> None:
    rows = [row.inner if isinstance(row, Yielding) else row for row in (*LAUNCHER, *ENVIRONMENT, *DATA, *MODEL)]
    assert all(row.reason for row in rows if isinstance(row, Inert))


def test_silence_means_the_scripts_own_defaults() -> None:
    recipe = with_flags(**FOUR).recipe
    assert (recipe.adapter.rank, recipe.adapter.alpha, recipe.adapter.dropout) == (64, 16, 0.1)
    assert len(recipe.adapter.targets) == 7
    assert (recipe.data.max_length, recipe.pack.kind, recipe.data.overlong) == (512, "none", "truncate")
    assert (recipe.quantise.compute, recipe.model.dtype) == ("fp16", "fp32")
    assert (recipe.data.train[0].format, recipe.method.kind) == ("text", "pretrain")
    assert recipe.checkpoint.resume == "auto"
    assert [source.split for source in recipe.data.evaluate] == ["test"]


def test_without_an_adapter_its_flags_cannot_matter() -> None:
    found = by_key(with_flags(use_peft_lora=False, lora_r=8))["lora_r"]
    assert (found.outcome, found.note) == (Outcome.INERT, "adapter.kind is none")


def test_todays_packing_is_what_is_done_here() -> None:
    accounts = by_key(with_flags(packing=True, max_length=64))
    assert accounts["packing"].outcome is Outcome.APPLIED


@pytest.mark.parametrize(
    ("flags", "key", "said"),
    [
        ({"chat_template_format": "llama"}, "chat_template_format", "chatml, zephyr or none"),
        ({"splits": "train,dev"}, "splits", "neither train nor test"),
        ({"splits": "test"}, "splits", "no split to train on"),
        ({"fim_rate": 0.5}, "fim_rate", "write 0"),
        ({"learning_rate": "$LR"}, "learning_rate", "write its value"),
        ({"dataset_name": "$DATASET"}, "dataset_name", "write its value"),
        ({"splits": "$train_split"}, "splits", "write its value"),
        ({"seed": ""}, "seed", "not a number"),
        ({"chat_template_format": "chatml", "add_special_tokens": True}, "add_special_tokens", "write False"),
        ({"bnb_4bit_compute_dtype": "int3", **FOUR}, "bnb_4bit_compute_dtype", "bfloat16"),
        ({"output_dir": "\u201cout\u201d"}, "output_dir", 'write "out"'),
        ({"\u2013lora_r": 8}, "lora_r", "write ----lora_r 8"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(flags: dict[str, Any], key: str, said: str) -> None:
    found = by_key(with_flags(**flags))[key]
    assert found.outcome is Outcome.REFUSED
    assert said.replace("----", "--") in found.note


def test_precision_of_the_launcher_counts_when_the_script_has_none() -> None:
    head = "accelerate launch --mixed_precision fp16 train.py"
    assert read(script(head, model_name_or_path="m", dataset_name="d")).recipe.precision.compute == "fp16"
    assert read(script(head, model_name_or_path="m", dataset_name="d", bf16=False)).recipe.precision.compute == "fp16"
    assert read(script(head, model_name_or_path="m", dataset_name="d", bf16=True)).recipe.precision.compute == "bf16"


def test_a_deepspeed_flag_brings_its_file(tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_text('{"zero_optimization": {"stage": 2},\n "scheduler": {"type": "WarmupLR"}}')
    text = script(dataset_name="d", model_name_or_path="m", lr_scheduler_type="cosine", deepspeed="ds.json")
    reading = read(text, str(tmp_path / "run.sh"))
    assert (reading.recipe.parallel.stage, reading.recipe.schedule.kind) == (2, "warmup_lr")
    assert by_key(reading)["lr_scheduler_type"].outcome is Outcome.REPLACED


@pytest.mark.parametrize(
    ("flags", "key", "outcome", "said"),
    [
        ({"max_seq_len": 64}, "max_seq_len", Outcome.APPLIED, "beginning of max_seq_length"),
        ({"packing": True}, "packing", Outcome.REPLACED, "ran into one another"),
        ({"chat_template_format": "chatml"}, "chat_template_format", Outcome.APPLIED, "stay untrained"),
        ({**FOUR, "bnb_4bit_quant_storage_dtype": "uint8"}, "bnb_4bit_quant_storage_dtype", Outcome.APPLIED, "fp32"),
        ({"packing": True, "max_length": 64, "add_special_tokens": True}, "add_special_tokens", Outcome.INERT, "0.15"),
        ({"packing": True, "packing_strategy": "bfd"}, "packing_strategy", Outcome.REPLACED, "packing says it"),
        ({"eval_packing": False}, "eval_packing", Outcome.INERT, "the same"),
        ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps", Outcome.APPLIED, "4.46"),
        ({"resume_from_checkpoint": False}, "resume_from_checkpoint", Outcome.APPLIED, ""),
    ],
)
def test_what_is_said(flags: dict[str, Any], key: str, outcome: Outcome, said: str) -> None:
    found = by_key(with_flags(**flags))[key]
    assert (found.outcome, said in found.note) == (outcome, True), found


def test_bf16_does_not_shorten_the_weights() -> None:
    reading = with_flags(bf16=True)
    assert (reading.recipe.precision.compute, reading.recipe.model.dtype) == ("bf16", "fp32")
    assert any("also under bf16" in one.note for one in reading.accounts)


def test_answers_alone_are_learned_when_asked_for() -> None:
    recipe = with_flags(chat_template_format="chatml", assistant_only_loss=True).recipe
    assert recipe.data.train_on == ("assistant",)


def test_json_of_the_same_fields() -> None:
    reading = read(json.dumps({**FLAGS, "hub_token": "hf_x"}, indent=1), "run.json")
    assert set(by_key(reading)) == {*FLAGS, "hub_token"}
    assert by_key(reading)["lora_r"].place == f"run.json:{list(FLAGS).index('lora_r') + 2}"
    assert "hf_x" not in str(reading.tree())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (script(**FLAGS), True),
        (script(dataset_name="d", model_name_or_path="m"), True),
        (json.dumps({"dataset_name": "d", "model_name_or_path": "m"}), True),
        (json.dumps({"train_file": "a.jsonl", "model_name_or_path": "m", "train_mode": "qlora"}), False),
        (json.dumps({"learning_rate": 1e-4, "output_dir": "o"}), False),
        ("python train.py --train_args_file a.json", False),
    ],
)
def test_it_is_known_by_its_keys(text: str, expected: bool) -> None:
    assert recognises(PEFT_SFT.parse(text, "run")) is expected


@given(st.text(max_size=200) | st.text(alphabet="{}[]\":,$ \n-=a1\u201c\u2013\\'", max_size=100))
def test_any_text_is_read_or_an_error_of_ours(text: str) -> None:
    for prefix in ("", "{", "python train.py --dataset_name d --"):
        try:
            document = PEFT_SFT.parse(prefix + text, "run.sh")
            recognises(document)
        except RecipeError:
            pass
