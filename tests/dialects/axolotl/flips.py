"""For each key that makes settings: two values that make different recipes, and the other keys they need."""

from __future__ import annotations

from typing import Any

ABSENT = object()
"""The key is not there."""

Flip = tuple[str, Any, Any, dict[str, Any]]

LORA = {"adapter": "lora"}
PACKED = {"sample_packing": True, "sequence_len": 64}
PLAIN_ROWS = {"datasets": [{"path": "rows.jsonl", "type": "chat_template"}]}
DPO = {"rl": "dpo"}


def _dataset(prefix: str) -> list[Flip]:
    """The keys of one dataset in the list ``prefix``."""
    streamed = prefix == "pretraining_dataset"
    rest: dict[str, Any] = {prefix: [{"path": "more.jsonl"}]} | ({"datasets": None} if streamed else {})
    chat: dict[str, Any] = PLAIN_ROWS | ({} if prefix == "datasets" else {prefix: [{"path": "more.jsonl"}]})
    at = f"{prefix}.0"
    columns = ("field", "text_column", "field_messages", "field_tools", "field_chosen", "field_rejected")
    own = ("field_instruction", "field_input", "field_output", "field_system", "system_prompt", "system_format")
    judged = ("field_prompt", "field_chosen", "field_rejected", "field_completion", "field_label")
    return [
        (f"{at}.path", "a.jsonl", "owner/b", rest),
        (f"{at}.data_files", ["a.jsonl"], ["a.jsonl", "b.csv"], rest | {prefix: [{"path": "json"}]}),
        (f"{at}.type", "alpaca", "completion", rest),
        (f"{at}.split", "train[:5%]", "train[:500]", rest),
        (f"{at}.shards", 4, 5, rest),
        (f"{at}.shards_idx", 1, 2, rest | {prefix: [{"path": "more.jsonl", "shards": 4}]}),
        (f"{at}.skip", 10, 20, rest),
        (f"{at}.revision", "main", "abc123", rest),
        (f"{at}.name", "main", "other", rest),
        *((f"{at}.{name}", "one", "two", rest) for name in columns),
        *((f"{at}.type.{name}", "one", "two", rest) for name in own),
        (f"{at}.type.format", "{instruction}|{input}", "{instruction}", rest),
        (f"{at}.type.no_input_format", "{instruction}|", "{instruction}", rest),
        *((f"{at}.type.{name}", "one", "two", rest | DPO) for name in judged),
        (f"{at}.type.prompt_format", "{prompt}|", "{prompt}", rest | DPO),
        (f"{at}.type.chosen_format", "{chosen}|", "{chosen}", rest | DPO),
        (f"{at}.type.rejected_format", "{rejected}|", "{rejected}", rest | DPO),
        (f"{at}.type.completion_format", "{completion}|", "{completion}", rest | {"rl": "kto"}),
        (f"{at}.message_property_mappings", {"role": "from"}, {"role": "from", "content": "value"}, rest),
        *(
            (f"{at}.{name}", "one", "two", rest)
            for name in (
                *("message_field_role", "message_field_content", "message_field_training"),
                *("message_field_training_detail", "field_thinking", "template_thinking_key"),
                *("field_human", "field_model"),
            )
        ),
        (f"{at}.roles", {"user": ["asker"]}, {"user": ["asker"], "assistant": ["answerer"]}, rest),
        (f"{at}.drop_system_message", True, False, rest),
        (f"{at}.split_thinking", True, False, rest),
        (f"{at}.train_on_eos", "all", "last", rest),
        (f"{at}.train_on_eot", "none", "last", rest | {"eot_tokens": ["<|eot|>"]}),
        (f"{at}.roles_to_train", ["gpt"], ["assistant", "human"], rest),
        (f"{at}.chat_template", "chatml", "tokenizer_default", chat),
        (f"{at}.conversation", "chatml", "zero_shot", chat),
        (f"{at}.chat_template_jinja", "a.jinja", "b.jinja", chat),
    ]


FLIPS: list[Flip] = [
    ("base_model", "a/b", "a/c", {}),
    ("min_sample_len", 8, 9, {}),
    ("model_revision", "main", "abc123", {}),
    ("unfrozen_parameters", ["^lm_head"], ["^model.embed"], {}),
    ("resize_token_embeddings_to_32x", True, False, {}),
    ("tokenizer_config", "a/b", "a/c", {}),
    *((f"special_tokens.{name}_token", "<a>", "<b>", {}) for name in ("bos", "eos", "pad", "unk")),
    ("special_tokens.additional_special_tokens", ["<a>"], ["<b>"], {}),
    ("tokens", ["one"], ["two"], {}),
    ("adapter", "lora", None, {}),
    ("load_in_4bit", True, False, LORA),
    ("load_in_8bit", True, False, LORA),
    ("lora_r", 8, "16", LORA),
    ("lora_alpha", 8, 16, LORA),
    ("lora_dropout", 0, 0.1, LORA),
    ("lora_fan_in_fan_out", True, False, LORA),
    ("lora_target_linear", True, False, LORA | {"lora_target_modules": ["q_proj"]}),
    ("lora_target_modules", ["q_proj"], ".*_proj", LORA),
    ("lora_modules_to_save", ["lm_head"], ["embed_tokens"], LORA),
    ("lora_rank_pattern", {"q_proj": 4}, {"q_proj": 8}, LORA),
    ("lora_alpha_pattern", {"q_proj": 4}, {"q_proj": 8}, LORA),
    ("lora_model_dir", "./one", "./two", LORA),
    ("peft_use_dora", True, False, LORA),
    ("peft_use_rslora", True, False, LORA),
    ("peft_init_lora_weights", True, "pissa_niter_16", LORA),
    ("peft.loftq_config.loftq_bits", 4, None, LORA),
    ("bnb_config_kwargs.bnb_4bit_use_double_quant", True, False, LORA | {"load_in_4bit": True}),
    ("bnb_config_kwargs.bnb_4bit_quant_type", "nf4", "fp4", LORA | {"load_in_4bit": True}),
    ("bnb_config_kwargs.bnb_4bit_compute_dtype", "bfloat16", "float16", LORA),
    ("bnb_config_kwargs.bnb_4bit_quant_storage", "uint8", "bfloat16", LORA),
    ("merge_lora", True, False, LORA),
    *_dataset("datasets"),
    *_dataset("test_datasets"),
    *_dataset("pretraining_dataset"),
    ("pretraining_dataset", "a.jsonl", "b.jsonl", {"datasets": None}),
    ("streaming", True, False, PLAIN_ROWS),
    ("chat_template", "chatml", "tokenizer_default", PLAIN_ROWS),
    ("chat_template_jinja", "a.jinja", "b.jinja", PLAIN_ROWS),
    ("chat_template_kwargs", {"enable_thinking": False}, {"enable_thinking": True}, PLAIN_ROWS),
    ("sequence_len", 64, 128, {}),
    ("sample_packing", True, False, {}),
    ("max_packed_sequence_len", 512, 1024, {}),
    ("multipack_real_batches", True, False, PACKED | {"micro_batch_size": 4}),
    ("micro_batch_size", 2, 4, PACKED),
    ("gradient_accumulation_steps", 2, 4, {}),
    ("batch_size", 8, 16, {"micro_batch_size": 4}),
    ("eval_batch_size", 2, 4, {}),
    ("auto_find_batch_size", True, False, {}),
    ("dataloader_drop_last", True, False, {}),
    ("val_set_size", 0.05, 200, {}),
    ("excess_length_strategy", "truncate", "raise", {}),
    ("train_on_inputs", True, False, {}),
    ("dataset_exact_deduplication", True, False, {}),
    ("group_by_length", True, False, {}),
    ("curriculum_sampling", True, False, {}),
    ("dataset_prepared_path", "one", "two", {}),
    ("dataset_num_proc", 2, 4, {}),
    ("default_system_message", "Be kind.", "Be brief.", {}),
    ("max_prompt_len", 128, 256, DPO),
    ("num_epochs", 1, 2.5, {}),
    ("max_steps", 10, -1, {}),
    ("seed", 1, 2, {}),
    ("optimizer", "adamw_hf", "paged_adamw_8bit", {}),
    ("learning_rate", "2e-5", 0.001, {}),
    ("weight_decay", 0.1, 0.01, {}),
    ("adam_beta1", 0.8, 0.9, {}),
    ("adam_beta2", 0.95, 0.99, {}),
    ("adam_epsilon", "1e-6", 1e-8, {}),
    ("max_grad_norm", 0, 0.5, {}),
    ("embedding_lr", 0.001, 0.002, {}),
    ("embedding_lr_scale", 2, 3, {"learning_rate": 0.001}),
    ("loraplus_lr_ratio", 8, 16, LORA),
    ("loraplus_lr_embedding", "1e-6", 1e-5, LORA | {"loraplus_lr_ratio": 16}),
    ("log_sweep_min_lr", 1e-6, 1e-5, {"lr_scheduler": "log_sweep"}),
    ("log_sweep_max_lr", 1e-6, 1e-5, {"lr_scheduler": "log_sweep"}),
    ("peft_layers_to_transform", [0, 1], 2, LORA | {"lora_target_modules": ["q_proj"]}),
    ("optim_args", "beta3=0.9,alpha=5", {"beta3": 0.8}, {}),
    ("optim_target_modules", ["attn"], "all_linear", {"optimizer": "galore_adamw"}),
    *(
        (name, 1, 2, {})
        for name in (
            *("adam_beta3", "adam_epsilon2", "dion_lr", "dion_momentum", "dion_rank_fraction"),
            "dion_rank_multiple_of",
        )
    ),
    ("lr_scheduler", "constant", "constant_with_warmup", {}),
    ("lr_scheduler_kwargs", {"num_cycles": 2}, {"num_cycles": 3}, {}),
    ("cosine_min_lr_ratio", 0.1, 1.0, {}),
    ("warmup_steps", 10, 0.1, {}),
    ("warmup_ratio", 0.1, 0, {}),
    ("rl", "dpo", "kto", {}),
    ("reward_model", True, False, {}),
    ("rl_beta", 0.1, 0.5, DPO),
    ("orpo_alpha", 0.1, 0.5, {"rl": "orpo"}),
    ("precompute_ref_log_probs", True, False, DPO),
    ("dpo_loss_type", "hinge", ["sigmoid"], DPO),
    ("dpo_norm_loss", True, False, DPO),
    ("dpo_label_smoothing", 0.1, 0.2, DPO),
    ("rpo_alpha", 0.5, 1.0, DPO),
    ("simpo_gamma", 0.5, 0.7, {"rl": "simpo"}),
    ("cpo_alpha", 0.5, 0.7, {"rl": "simpo"}),
    ("kto_desirable_weight", 0.2, 0.5, {"rl": "kto"}),
    ("kto_undesirable_weight", 0.2, 0.5, {"rl": "kto"}),
    ("center_rewards_coefficient", 0.01, 0.1, {"reward_model": True}),
    ("neftune_noise_alpha", 5, 10, {}),
    ("use_dynamic_finetuning", True, False, {}),
    ("bf16", True, "auto", {}),
    ("fp16", True, False, {"bf16": False}),
    ("bfloat16", True, False, {"bf16": False}),
    ("float16", True, False, {"bf16": False}),
    ("float32", True, False, {}),
    ("tf32", True, "auto", {}),
    ("attn_implementation", "flash_attention_2", "sdpa", {}),
    *(
        (name, True, False, {})
        for name in (
            *("flash_attention", "xformers_attention", "sdp_attention", "flex_attention", "eager_attention"),
            *("sdpa_varlen", "flash_optimum"),
        )
    ),
    *(
        (name, True, False, {})
        for name in (
            *("flash_attn_cross_entropy", "cut_cross_entropy", "chunked_cross_entropy", "unsloth_cross_entropy_loss"),
            *("liger_rope", "liger_rms_norm", "liger_rms_norm_gated", "liger_layer_norm", "liger_glu_activation"),
            *("liger_swiglu", "liger_cross_entropy", "liger_fused_linear_cross_entropy"),
            *("flash_attn_rms_norm", "flash_attn_fuse_qkv", "flash_attn_fuse_mlp"),
        )
    ),
    ("plugins", ["axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"], [], {}),
    ("gradient_checkpointing", True, False, {}),
    ("activation_offloading", "disk", False, {}),
    ("selective_checkpointing", {"save": ["attention"]}, False, {}),
    ("gradient_checkpointing_kwargs.use_reentrant", True, False, {"gradient_checkpointing": True}),
    ("torch_compile", "auto", False, {}),
    ("torch_compile_backend", "inductor", "eager", {"torch_compile": True}),
    ("torch_compile_mode", "default", "max-autotune", {"torch_compile": True}),
    ("dataloader_num_workers", 1, 2, {}),
    ("dataloader_pin_memory", True, False, {}),
    ("deepspeed", {"zero_optimization": {"stage": 1}}, {"zero_optimization": {"stage": 2}}, {}),
    ("fsdp", ["full_shard", "auto_wrap"], [], {}),
    ("fsdp_config", {"fsdp_offload_params": True}, {"reshard_after_forward": False}, {}),
    ("ddp_timeout", 60, 120, {}),
    ("ddp_bucket_cap_mb", 25, 50, {}),
    ("ddp_broadcast_buffers", True, False, {}),
    ("ddp_find_unused_parameters", True, False, {}),
    ("tensor_parallel_size", 1, 2, {}),
    ("context_parallel_size", 1, 2, {}),
    ("dp_shard_size", 2, 4, {}),
    ("dp_replicate_size", 2, 4, {}),
    *((name, 1, 2, {}) for name in ("gpu", "gpu_count", "node_count", "provider", "memory", "region", "env")),
    ("evals_per_epoch", 2, 4, {}),
    ("eval_steps", 10, 0.2, {}),
    ("eval_strategy", "no", "epoch", {}),
    ("eval_table_size", 5, 3, {}),
    ("eval_max_new_tokens", 32, 64, {}),
    ("generation_temperature", 0.5, 0.7, {}),
    ("generation_top_p", 0.5, 0.7, {}),
    ("generation_top_k", 5, 7, {}),
    ("early_stopping_patience", 3, 0, {"val_set_size": 0.1}),
    ("load_best_model_at_end", True, False, {"val_set_size": 0.1}),
    ("metric_for_best_model", "eval_loss", "accuracy", {}),
    ("greater_is_better", True, False, {}),
    ("saves_per_epoch", 2, 4, {}),
    ("save_steps", 10, 0.2, {}),
    ("save_strategy", "no", "epoch", {}),
    ("save_total_limit", 1, 2, {}),
    ("save_only_model", True, False, {}),
    ("resume_from_checkpoint", "./one", "./two", {}),
    ("auto_resume_from_checkpoints", True, False, {}),
    *((f"use_{name}", True, False, {}) for name in ("wandb", "mlflow", "comet", "trackio", "swanlab", "tensorboard")),
    *(
        (name, "one", "two", {})
        for name in (
            *("wandb_project", "mlflow_experiment_name", "comet_project_name", "trackio_project_name"),
            *("swanlab_project", "wandb_entity", "comet_workspace", "swanlab_workspace", "wandb_name"),
            *("mlflow_run_name", "trackio_run_name", "swanlab_experiment_name", "wandb_run_id"),
            *("comet_experiment_key", "wandb_mode", "comet_mode", "swanlab_mode"),
            *("swanlab_description", "trackio_space_id"),
        )
    ),
    ("mlflow_tracking_uri", "http://localhost:5000", None, {}),
    ("wandb_watch", "gradients", "all", {}),
    ("wandb_log_model", "checkpoint", "end", {}),
    ("hf_mlflow_log_artifacts", True, False, {}),
    ("comet_online", True, False, {}),
    ("comet_experiment_config", {"a": 1}, {"a": 2}, {}),
    ("logging_steps", 1, 5, {}),
    ("output_dir", "./one", "./two", {}),
    ("hub_model_id", "me/one", "me/two", {}),
    ("hub_strategy", "end", "checkpoint", {}),
    ("hub_revision", "one", "two", {}),
]
