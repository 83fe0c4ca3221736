"""Axolotl's keys of number types, kernels, memory and devices."""

from __future__ import annotations

from typing import Any

from luthier.dialects.axolotl.values import flag, instead, mapping, names, text, truth, whole
from luthier.dialects.deepspeed import names_deepspeed
from luthier.dialects.table import (
    Cannot,
    Default,
    Effect,
    Gather,
    Inert,
    Key,
    Refused,
    Row,
    Spread,
    Values,
    applied,
    inert,
    refused,
    replaced,
)

_TYPES = ("bf16", "fp16", "bfloat16", "float16", "float32")
_ATTENTION = {
    "flash_attention_2": "flash", "flash_attention_3": "flash", "flash_attention": "flash", "sdpa": "sdpa",
    "flex_attention": "flex", "eager": "eager", "xformers": "varlen", "sdpa_varlen": "varlen",
    "sage": "auto", "fp8": "auto",
}  # fmt: skip
_SWITCHES = {
    "flash_attention": "flash_attention_2", "xformers_attention": "xformers", "sdp_attention": "sdpa",
    "flex_attention": "flex_attention", "eager_attention": "eager",
    "sdpa_varlen": "sdpa_varlen", "flash_optimum": "sdpa",
}  # fmt: skip
_LIGER = (
    *("liger_rope", "liger_rms_norm", "liger_rms_norm_gated", "liger_layer_norm", "liger_glu_activation"),
    *("liger_swiglu", "liger_cross_entropy", "liger_fused_linear_cross_entropy"),
)
_LOSSES = ("flash_attn_cross_entropy", "cut_cross_entropy", "chunked_cross_entropy", "unsloth_cross_entropy_loss")
_CUT = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
_PLUGINS = {_CUT, "axolotl.integrations.liger.LigerPlugin", "axolotl.integrations.swanlab.SwanLabPlugin"} | {
    "axolotl.integrations.kernels.KernelsPlugin"
}


def _in_deepspeed(kind: str, values: Values) -> bool:
    return any(key.endswith(f": {kind}.enabled") and on is True for key, on in values.items())


def _types(values: Values) -> Effect:
    asked = {name: values.get(name) for name in _TYPES}
    bf16 = asked["bf16"]
    if truth(asked["bfloat16"]):
        return applied({"precision.compute": "bf16", "model.dtype": "bf16"}, "weights are held in bf16 as well")
    if truth(asked["float16"]):
        return applied({"precision.compute": "fp16", "model.dtype": "fp16"}, "weights are held in fp16 as well")
    if truth(asked["fp16"]):
        if truth(bf16) and bf16 != "auto":
            raise Cannot("products are computed in bf16 or in fp16", "keep one of bf16 and fp16")
        return applied({"precision.compute": "fp16"})
    if bf16 == "full":
        made = {"precision.compute": "bf16", "model.dtype": "bf16", "precision.full_evaluation": True}
        return applied(made, "evaluated with the weights themselves in bf16; today's Axolotl refuses the word")
    stated = next((kind for kind in ("bf16", "fp16") if _in_deepspeed(kind, values)), None)
    if bf16 == "auto" and stated:
        return applied({"precision.compute": stated}, "auto, and the DeepSpeed file says which")
    if bf16 == "auto" or (bf16 is None and not truth(asked["float32"])):
        return applied(
            {"precision.compute": "auto"},
            "bf16 where the device is fast in it; elsewhere fp32, where Axolotl took fp16. Weights that train stay in "
            "fp32, which Axolotl held in the same short type; model.dtype=bf16 does so",
        )
    if flag(bf16 or False):
        return applied(
            {"precision.compute": "bf16", "model.dtype": "bf16"}, "weights are held in bf16 as well, as there"
        )
    return applied({"precision.compute": "fp32"})


def _attention(values: Values) -> Effect:
    asked = {name for key, name in _SWITCHES.items() if truth(values.get(key))}
    given = values.get("attn_implementation")
    if given is not None:
        name = text(given)
        asked.add("flash_attention_2" if name.startswith("kernels-community/") and "flash" in name else name)
    if asked == {"sdpa", "sdpa_varlen"}:
        asked = {"sdpa_varlen"}
    if len(asked) > 1:
        raise Cannot(f"it is one of {', '.join(sorted(asked))}", "keep one of them")
    name = asked.pop() if asked else "auto"
    if name == "auto":
        return applied({"model.attention": "auto"})
    if name not in _ATTENTION:
        raise Cannot(f"the attention {name!r} is not there", "write attn_implementation: flash_attention_2 or sdpa")
    if name in ("sage", "fp8"):
        return replaced({"model.attention": "auto"}, "attention in 8 bits is replaced by that of the compute type")
    if name == "xformers" or given not in (None, *_ATTENTION):
        return replaced({"model.attention": _ATTENTION[name]}, "the same arithmetic in a kernel that is still made")
    return applied({"model.attention": _ATTENTION[name]}, "documents in a pack are isolated under every kernel")


def _loss(values: Values) -> Effect:
    plugins = names(values.get("plugins") or [])
    on = any(truth(values.get(key)) for key in _LOSSES) or (
        _CUT in plugins and values.get("cut_cross_entropy") is not False
    )
    return applied({"runtime.kernels.cross_entropy": "on" if on else "off"}, "a kernel of the loss, not of attention")


def _liger(values: Values) -> Effect:
    on = any(truth(values.get(key)) for key in _LIGER)
    return applied({"runtime.kernels.liger": "on" if on else "off"}, "Liger's kernels come together")


def _plugins(value: Any, values: Values) -> Effect:
    asked = names(value or [])
    odd = [one for one in asked if one not in _PLUGINS]
    if odd:
        raise Cannot(f"code named by a recipe is not run: {', '.join(odd)}", "leave it out")
    if _CUT in asked:
        return _loss(values)
    return replaced({}, "the switches of its own say what it was for")


def _switch(value: Any) -> str:
    return "on" if flag(value) else "off"


_ASIDE = ("offload", "offload_disk", "unsloth")
"""What ``gradient_checkpointing`` may say to have activations moved to host memory."""


def _checkpointing(values: Values) -> Effect:
    asked = values.get("gradient_checkpointing")
    aside = values.get("activation_offloading")
    fsdp = values.get("fsdp_config")
    within = fsdp if isinstance(fsdp, dict) else {}
    more = any(within.get(key) for key in ("activation_checkpointing", "fsdp_activation_checkpointing"))
    on = truth(asked) or truth(aside) or truth(values.get("selective_checkpointing")) or more
    moved = on and (truth(aside) or asked in _ASIDE)
    made = {"runtime.gradient_checkpointing": on, "runtime.checkpoint_offload": moved}
    if "disk" in str(asked) or aside == "disk":
        return replaced(made, "what is kept goes to host memory, not to a disk; the gradients are the same")
    return applied(made)


def _compile(value: Any) -> bool:
    return value == "auto" or flag(value)


def _sharding(values: Values) -> Effect:
    words = names(values.get("fsdp") or [])
    given = {key.removeprefix("fsdp_"): one for key, one in mapping(values.get("fsdp_config") or {}).items()}
    if not words and not given:
        return inert("it asks for nothing")
    kind = str(given.pop("sharding_strategy", "")).upper() or " ".join(words).upper()
    stage = 2 if "GRAD_OP" in kind else 0 if "NO_SHARD" in kind else 3
    if given.get("reshard_after_forward") is False:
        stage = 2
    made: dict[str, Any] = {"parallel.engine": "fsdp", "parallel.stage": stage}
    offload = bool(given.pop("offload_params", False)) or "offload" in words
    made |= {"parallel.offload_parameters": offload, "parallel.offload_optimizer": offload}
    layers = given.pop("transformer_layer_cls_to_wrap", None)
    if layers:
        made["parallel.wrap"] = [one.strip() for layer in names(layers) for one in layer.split(",")]
    if given.pop("activation_checkpointing", False):
        made["runtime.gradient_checkpointing"] = True
    return applied(made | ({"parallel.fsdp_config": given} if given else {}), "FSDP2, one shard group")


def _world(values: Values) -> Effect:
    sizes = {key: whole(values.get(key) or 1) for key in ("dp_shard_size", "dp_replicate_size")}
    tensor = whole(values.get("tensor_parallel_size") or 1)
    context = whole(values.get("context_parallel_size") or values.get("sequence_parallel_degree") or 1)
    world = sizes["dp_shard_size"] * sizes["dp_replicate_size"] * tensor * context
    return applied({"batch.world": world}, "the processes that the batch was meant for, in one shard group")


def _expert_parallel(value: Any, values: Values) -> Effect:
    if value is None or whole(value) <= 1:
        return inert("1: each device has all experts")
    return refused("experts are not spread over devices, which is another mesh and another batch", "write 1")


_SAME = "a fused kernel for the same numbers; Luthier uses the plain ones"
_KERNELS = (
    *("unsloth_lora_mlp", "unsloth_lora_qkv", "unsloth_lora_o", "unsloth_rms_norm", "unsloth_rope", "use_kernels"),
    *("fused_attn_kernel", "large_head_attention", "flash_attn_d512", "gemma4_hybrid_attn_impl"),
)
_EXPERT_KERNELS = (
    *("use_scattermoe", "use_sonicmoe", "experts_implementation", "expert_backend", "moe_grouped_backend"),
    *("moe_dequant_chunk_size", "moe_bnb_fast", "llama4_linearized_experts", "use_dsv4_kernels", "use_glm_dsa_kernels"),
)
_EXPERT_PARALLEL = ("backend", "num_nvl_bytes", "num_rdma_bytes", "token_capacity", "fallback_on_unsupported")
_COMPILER = ("torch_compile_options", "flex_attn_compile_kwargs", "deepcompile")
_SWEEPS = ("gc_steps", "torch_empty_cache_steps", "gc_collect_steps")
_EXPERTS = "how experts are computed; the numbers are the same"
_MAKES_TYPES = ("precision.compute", "model.dtype", "precision.full_evaluation")
_MAKES_SHARDS = (
    *("parallel.engine", "parallel.stage", "parallel.wrap", "parallel.fsdp_config", "parallel.offload_parameters"),
    *("parallel.offload_optimizer", "runtime.gradient_checkpointing"),
)
_MAKES_CHECKPOINTING = ("runtime.gradient_checkpointing", "runtime.checkpoint_offload")

SPEED: tuple[Row, ...] = (
    *(Gather(name, _MAKES_TYPES, _types) for name in _TYPES),
    Key("tf32", "precision.tf32", lambda value: None if value == "auto" else flag(value)),
    *(Gather(name, ("model.attention",), _attention) for name in ("attn_implementation", *_SWITCHES)),
    *(Gather(name, ("runtime.kernels.cross_entropy",), _loss) for name in _LOSSES),
    *(Gather(name, ("runtime.kernels.liger",), _liger) for name in _LIGER),
    Key("flash_attn_rms_norm", "runtime.kernels.rms_norm", _switch, note="a kernel of the norms, not of attention"),
    Key(
        "flash_attn_fuse_qkv",
        "runtime.kernels.fuse_qkv",
        _switch,
        note="one matrix product for three; un-fused on save",
    ),
    Key(
        "flash_attn_fuse_mlp", "runtime.kernels.fuse_mlp", _switch, note="one matrix product for two; un-fused on save"
    ),
    Spread("plugins", ("runtime.kernels.cross_entropy",), _plugins),
    Gather("gradient_checkpointing", _MAKES_CHECKPOINTING, _checkpointing),
    Gather("activation_offloading", _MAKES_CHECKPOINTING, _checkpointing),
    Gather("selective_checkpointing", _MAKES_CHECKPOINTING, _checkpointing, whole=True),
    Key("gradient_checkpointing_kwargs.use_reentrant", "runtime.checkpoint_reentrant", flag),
    Inert("gradient_checkpointing_kwargs", "it names nothing", (None, {})),
    Key("torch_compile", "runtime.compile", _compile),
    Key("torch_compile_backend", "runtime.compile_backend", text),
    Key("torch_compile_mode", "runtime.compile_mode", text),
    Key("dataloader_num_workers", "runtime.loader_workers", whole),
    Key("dataloader_pin_memory", "runtime.pin_memory", flag),
    Spread("deepspeed", ("parallel.engine", "parallel.deepspeed"), names_deepspeed, whole=True),
    Gather("fsdp", _MAKES_SHARDS, _sharding),
    Gather("fsdp_config", _MAKES_SHARDS, _sharding, whole=True),
    Key("ddp_timeout", "parallel.timeout", whole),
    Key("ddp_bucket_cap_mb", "parallel.ddp.bucket_cap_mb", whole),
    Key("ddp_broadcast_buffers", "parallel.ddp.broadcast_buffers", flag),
    Key("ddp_find_unused_parameters", "parallel.ddp.find_unused_parameters", flag),
    Key("tensor_parallel_size", "parallel.tensor", whole),
    Key("context_parallel_size", "parallel.context", whole, old=("sequence_parallel_degree",)),
    Gather("dp_shard_size", ("batch.world",), _world),
    Gather("dp_replicate_size", ("batch.world",), _world),
    Spread("expert_parallel_size", (), _expert_parallel),
    *(
        Key(name, f"runtime.environment.{name}")
        for name in ("gpu", "gpu_count", "node_count", "provider", "memory", "region", "env")
    ),
    Spread("sage_attention", (), instead("attention in 8 bits is replaced by that of the compute type, more exact")),
    Refused("s2_attention", "shifted sparse attention is not there", "write attn_implementation: flash_attention_2"),
    Spread("fp8", (), instead("products in 8 bits are replaced by those of the compute type, which are more exact")),
    Inert("fp8_enable_fsdp_float8_all_gather", "it belongs to fp8"),
    Refused("fp32_norms", "norms have the type of the other weights", "write bf16: false"),
    Inert("fp32_norm_classes", "it belongs to fp32_norms"),
    Refused("liger_use_token_scaling", "a token's loss is not weighed by its own probability", "leave it out"),
    Spread("use_ray", (), instead("Ray does not start the processes; torchrun does, to the same result")),
    Inert("ray_num_workers", "it belongs to use_ray"),
    Inert("ray_run_name", "it belongs to use_ray"),
    Inert("resources_per_worker", "it belongs to use_ray", whole=True),
    Inert("accelerator_config", "Luthier's own loop deals out the batches, and divides the loss once", whole=True),
    Inert("fsdp_version", "it is always FSDP2"),
    Inert("fsdp_final_state_dict_type", "a checkpoint can be read by any number of devices"),
    *(Inert(name, "the launch says it") for name in ("ddp", "world_size", "local_rank")),
    Inert("ring_attn_func", "how a shared sequence goes round; the numbers are the same"),
    Inert("heads_k_stride", "how a shared sequence goes round; the numbers are the same"),
    *(Inert(name, "constants of the compiler change its speed alone", whole=True) for name in _COMPILER),
    *(Inert(name, "when memory is swept changes nothing") for name in _SWEEPS),
    *(Spread(name, (), instead(_SAME)) for name in _KERNELS),
    *(Spread(name, (), instead(_EXPERTS)) for name in _EXPERT_KERNELS),
    *(
        Spread(name, (), instead("the sequence is not cut for the MLP; the plan says beforehand whether it fits"))
        for name in ("tiled_mlp", "layer_offloading")
    ),
    *(Inert(name, "it belongs to tiled_mlp") for name in ("tiled_mlp_num_shards", "tiled_mlp_use_original_mlp")),
    Inert("chunked_cross_entropy_num_chunks", "the kernel chooses its chunks"),
    *(Inert(f"expert_parallel_{name}", "it belongs to expert_parallel_size") for name in _EXPERT_PARALLEL),
)

DEFAULTS: tuple[Default, ...] = (
    Default("bf16", "auto", {"precision.compute": "auto"}, "bf16 where the device is fast in it, else fp32"),
)
