"""What Axolotl's accounts say of old meanings, and of the DeepSpeed file that a recipe names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from luthier.dialects.axolotl import AXOLOTL
from luthier.dialects.reading import Outcome
from tests.dialects.axolotl.test_meanings import FILE, account, read


@pytest.mark.parametrize(
    ("more", "key", "outcome", "said"),
    [
        ("batch_size: 8\nmicro_batch_size: 4", "batch_size", Outcome.APPLIED, "batch_size / micro_batch_size"),
        ("gradient_accumulation_steps: 2", "gradient_accumulation_steps", Outcome.APPLIED, "4.46"),
        ("sample_packing: true", "sample_packing", Outcome.APPLIED, "do not see one another"),
        ("max_packed_sequence_len: 1024", "max_packed_sequence_len", Outcome.APPLIED, "saw one another"),
        ("sample_packing: true\neval_sample_packing: false", "eval_sample_packing", Outcome.INERT, "on by default"),
        ("pad_to_sequence_len: true", "pad_to_sequence_len", Outcome.INERT, "rounded up to 64"),
        ("strict: false", "strict", Outcome.INERT, "never checked weights"),
        ("weight_decay: 0.1", "weight_decay", Outcome.APPLIED, "decoupled"),
        ("loraplus_lr_ratio: 16\nweight_decay: 0.1", "weight_decay", Outcome.REPLACED, "nothing decay"),
        ("loraplus_lr_ratio: 16", "loraplus_lr_embedding", Outcome.DEFAULT, "LoRA in embeddings"),
        ("warmup_steps: 1", "warmup_steps", Outcome.APPLIED, "takes 2 for 1"),
        ("saves_per_epoch: 1\nnum_epochs: 1", "saves_per_epoch", Outcome.APPLIED, "also in a run of one epoch"),
        ("evals_per_epoch: 2\nval_set_size: 0.1", "evals_per_epoch", Outcome.APPLIED, "before the first step"),
        ("optimizer: adamw_bnb_8bit", "optimizer", Outcome.APPLIED, "few bits"),
        ("bf16: auto", "bf16", Outcome.APPLIED, "Axolotl took fp16"),
        ("group_by_length: true", "group_by_length", Outcome.APPLIED, "changes the order"),
        ("flash_attn_cross_entropy: true", "flash_attn_cross_entropy", Outcome.APPLIED, "not of attention"),
        ("flash_attn_rms_norm: true", "flash_attn_rms_norm", Outcome.APPLIED, "not of attention"),
        ("flash_attn_fuse_qkv: true", "flash_attn_fuse_qkv", Outcome.APPLIED, "un-fused on save"),
        ("flash_attn_fuse_mlp: true", "flash_attn_fuse_mlp", Outcome.APPLIED, "un-fused on save"),
        ("xformers_attention: true", "xformers_attention", Outcome.REPLACED, "still made"),
        ("trust_remote_code: true", "trust_remote_code", Outcome.INERT, "only"),
        ("val_set_size: 0.05", "val_set_size", Outcome.APPLIED, "above 1 it counts rows"),
        ("save_strategy: best\neval_steps: 30", "save_strategy", Outcome.REPLACED, "load_best_model_at_end"),
        ("sage_attention: true", "sage_attention", Outcome.REPLACED, "compute type"),
        ("fp8: true", "fp8", Outcome.REPLACED, "more exact"),
        ("use_ray: true", "use_ray", Outcome.REPLACED, "torchrun"),
        ("expert_parallel_size: 1", "expert_parallel_size", Outcome.INERT, "all experts"),
        ("expert_parallel_size: 8", "expert_parallel_size", Outcome.REFUSED, "write 1"),
        ("liger_use_token_scaling: true", "liger_use_token_scaling", Outcome.REFUSED, "its own probability"),
        ("cls_model_config: AutoConfig", "cls_model_config", Outcome.INERT, "config.json"),
        ("cls_model_config: LlamaConfig", "cls_model_config", Outcome.REFUSED, "class of configs"),
        ("dataloader_drop_last: true", "dataloader_drop_last", Outcome.APPLIED, "whole step is left out"),
        ("lr_scheduler: reduce_lr_on_plateau", "lr_scheduler", Outcome.APPLIED, "told after each evaluation"),
        ("lr_scheduler: greedy\nwarmup_steps: 9", "warmup_steps", Outcome.INERT, "greedy has no warm-up"),
        ("lr_scheduler: log_sweep", "lr_scheduler", Outcome.APPLIED, "learning_rate plays no part"),
        ("log_sweep_max_lr: 1.0", "log_sweep_max_lr", Outcome.INERT, "belongs to lr_scheduler: log_sweep"),
        ("dp_shard_size: 2\ndp_replicate_size: 2", "dp_replicate_size", Outcome.APPLIED, "one shard group"),
        ("comet_api_key: abc", "comet_api_key", Outcome.INERT, "environment"),
        ("profiler_steps: 5", "profiler_steps", Outcome.REPLACED, "every step"),
        ("use_otel_metrics: true", "use_otel_metrics", Outcome.REPLACED, "own record"),
        ("generate_samples: true", "generate_samples", Outcome.REPLACED, "data.test"),
        ("push_dataset_to_hub: a/b", "push_dataset_to_hub", Outcome.REPLACED, "not uploaded"),
        ("skip_prepare_dataset: true", "skip_prepare_dataset", Outcome.REPLACED, "the same"),
        ("shrink_embeddings: true", "shrink_embeddings", Outcome.INERT, "change nothing"),
        ("bf16: full", "bf16", Outcome.APPLIED, "today's Axolotl refuses"),
    ],
)  # fmt: skip
def test_what_is_said(more: str, key: str, outcome: Outcome, said: str) -> None:
    found = account(read(more + "\n"), key)
    assert (found.outcome, said in found.note) == (outcome, True), found


def test_a_secret_is_not_shown() -> None:
    assert "abc" not in str(read("comet_api_key: abc\nwandb_api_key: abc\n").tree())


def test_an_old_chat_dataset_says_what_became_of_its_type() -> None:
    reading = read(file="base_model: a/b\ndatasets:\n  - {path: a/b, type: sharegpt}\n")
    assert "removed from Axolotl" in account(reading, "datasets.0.type").note


def test_layers_to_transform_become_one_expression() -> None:
    more = "adapter: lora\nlora_target_modules: [q_proj, v_proj]\npeft_layers_to_transform: [0, 3]\n"
    targets = read(more).recipe.adapter.targets
    assert isinstance(targets, str)
    assert re.fullmatch(targets, "model.layers.3.self_attn.q_proj")
    assert not re.fullmatch(targets, "model.layers.13.self_attn.q_proj")
    assert not re.fullmatch(targets, "model.layers.3.self_attn.k_proj")
    named = read(more + "peft_layers_pattern: blocks\n").recipe.adapter.targets
    assert isinstance(named, str)
    assert re.fullmatch(named, "model.blocks.0.v_proj")
    assert not re.fullmatch(named, "model.layers.0.v_proj")


DEEPSPEED = """\
{"gradient_accumulation_steps": "auto",
 "train_micro_batch_size_per_gpu": 2,
 "bf16": {"enabled": "auto"},
 "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": [0.9, 0.95]}},
 "scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": "auto", "warmup_num_steps": "auto"}},
 "zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}
"""


def test_the_deepspeed_file_is_read_and_its_blocks_win(tmp_path: Path) -> None:
    (tmp_path / "deepspeed_configs").mkdir()
    (tmp_path / "deepspeed_configs" / "zero2.json").write_text(DEEPSPEED)
    (tmp_path / "examples").mkdir()
    more = (
        "deepspeed: deepspeed_configs/zero2.json\nmicro_batch_size: 2\nsample_packing: true\nlearning_rate: 2e-5\n"
        "lr_scheduler: constant\nwarmup_steps: 7\noptimizer: adamw_bnb_8bit\n"
    )
    reading = AXOLOTL.read(FILE + more, str(tmp_path / "examples" / "a.yml"), ())
    assert reading.refusals() == ()
    recipe = reading.recipe
    assert (recipe.parallel.engine, recipe.parallel.stage, recipe.parallel.offload_optimizer) == ("deepspeed", 2, True)
    assert (recipe.optimizer.kind, recipe.optimizer.lr, recipe.optimizer.beta2) == ("adamw", 0.001, 0.95)
    assert account(reading, "learning_rate").outcome is Outcome.REPLACED
    schedule = recipe.schedule
    assert (schedule.kind, schedule.warmup, schedule.warmup_steps) == ("warmup_decay_lr", "log", 7)
    assert recipe.optimizer.clip is None
    assert account(reading, "optimizer").outcome is account(reading, "lr_scheduler").outcome is Outcome.REPLACED
    assert account(reading, "zero2.json: scheduler.type").place == "deepspeed_configs/zero2.json:5"


def test_what_a_deepspeed_file_computes_in_decides_what_auto_is(tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_text('{"bf16": {"enabled": true}, "zero_optimization": {"stage": 3}}')
    reading = AXOLOTL.read(FILE + "deepspeed: ds.json\nbf16: auto\nfp16:\n", str(tmp_path / "a.yml"), ())
    assert (reading.refusals(), reading.recipe.precision.compute) == ((), "bf16")


def test_a_deepspeed_file_that_is_not_there_is_refused() -> None:
    found = account(read("deepspeed: nowhere/zero2.json\n"), "deepspeed")
    assert found.outcome is Outcome.REFUSED
    assert "put it there, or correct its path" in found.note
