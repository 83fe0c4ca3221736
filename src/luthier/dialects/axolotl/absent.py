"""Axolotl's keys of what Luthier does not do: each says so, and what to do instead."""

from __future__ import annotations

from luthier.dialects.table import Inert, Refused, Row

_FAMILIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "learning from the model's own samples (GRPO, GDPO, EBFT) is not there",
        "use rl: dpo or rl: kto on recorded answers",
        ("trl", "vllm", "ebft"),
    ),
    ("training diffusion models of text is not there", "leave it out", ("diffusion",)),
    ("training for low-bit weights is not there", "write adapter: qlora", ("qat",)),
    (
        "quantising the result is not there",
        "quantise the saved model with the tool that will serve it",
        ("quantization",),
    ),
    ("compressing the result is not there", "compress the saved model", ("llmcompressor", "recipe", "save_compressed")),
    (
        "images and sound are not there",
        "train the text model alone",
        ("image_size", "image_resize_algorithm", "freeze_mm_modules"),
    ),
    (
        "learning from a teacher is not there",
        "train on the teacher's answers",
        ("kd_trainer", "kd_online_server_base_url"),
    ),
    ("rewards of single steps are not there", "write rl: dpo", ("process_reward_model",)),
    ("a trainer of one's own is not run", "leave it out", ("trainer_cls",)),
    ("weighing tokens by their entropy is not there", "leave it out", ("use_eaft",)),
    (
        "learned softmax scaling is not there",
        "leave it out",
        ("scaling_softmax", "scaling_softmax_factor", "scaling_softmax_bias"),
    ),
    (
        "this plugin is not there",
        "leave it out",
        ("hatchery", "nemo_gym_dir", "dense_mixer", "grokfast_alpha", "grokfast_lamb"),
    ),
    (
        "choosing layers by their spectrum is not there",
        "name them in unfrozen_parameters",
        ("spectrum_top_fraction", "spectrum_model_name"),
    ),
    ("benchmarks are not run after training", "run luthier evaluate RUN --tasks NAME,NAME", ("lm_eval_tasks",)),
    (
        "quantised experts are not there",
        "leave it out",
        ("quantize_moe_experts", "nonexpert_quantization", "nvfp4_merge_aware"),
    ),
    (
        "weights of DeepSeek's and Gemma's 8-bit and 4-bit kinds are not there",
        "name a model stored in bf16",
        ("dsv4_fp8_nonexpert_mode", "dsv4_fp4_grouped_mode", "gemma4_fp8_nonexpert", "gemma4_nf4_nonexpert"),
    ),
)

_BELONGING: dict[str, tuple[str, ...]] = {
    "kd_trainer": (
        *("kd_ce_alpha", "kd_alpha", "kd_temperature", "kd_beta", "kd_normalize_topk", "kd_online_topk"),
        *("kd_online_server", "kd_online_timeout", "kd_temperature_min"),
    ),
    "use_eaft": ("eaft_alpha", "eaft_k"),
    "lm_eval_tasks": ("lm_eval_batch_size", "lm_eval_post_train", "lm_eval_model"),
    "nvfp4_merge_aware": ("nvfp4_merge_aware_start_step",),
    "dsv4_fp8_nonexpert_mode": ("dsv4_fp8_lora_kernel", "dsv4_shared_mlp_lora_kernel", "dsv4_bf16_all"),
    "optimizer: q_galore_adamw8bit": (
        *("qgalore_rank", "qgalore_update_proj_gap", "qgalore_scale", "qgalore_proj_type", "qgalore_proj_quant"),
        *("qgalore_proj_bits", "qgalore_proj_group_size", "qgalore_cos_threshold", "qgalore_gamma_proj"),
        "qgalore_queue_size",
    ),
    "nemo_gym_dir": (
        *("nemo_gym_enabled", "nemo_gym_auto_clone", "nemo_gym_config_paths", "nemo_gym_head_port"),
        *("nemo_gym_server_timeout", "nemo_gym_verify_timeout", "nemo_gym_run_timeout", "nemo_gym_datasets"),
        *("nemo_gym_auto_start", "nemo_gym_model_name", "nemo_gym_multi_turn", "nemo_gym_max_turns"),
    ),
}

ABSENT: tuple[Row, ...] = (
    *(
        Refused(name, reason, remedy, (None, False, {}, [], ""), whole=True)
        for reason, remedy, names in _FAMILIES
        for name in names
    ),
    *(Inert(name, f"it belongs to {owner}", whole=True) for owner, names in _BELONGING.items() for name in names),
)
