"""How Axolotl says number types, kernels, memory and devices."""

from __future__ import annotations

from typing import Any

from luthier.convert.sheet import Keys, Writer, one
from luthier.convert.training_arguments_machine import deepspeed
from luthier.recipe import Recipe

_ATTENTION = {
    "flash": "flash_attention_2",
    "sdpa": "sdpa",
    "blocks": "sdpa",
    "flex": "flex_attention",
    "eager": "eager",
}
_PLUGIN = "axolotl.integrations."
_CUT = f"{_PLUGIN}cut_cross_entropy.CutCrossEntropyPlugin"
_LIGER = f"{_PLUGIN}liger.LigerPlugin"
_STRATEGIES = {0: "NO_SHARD", 2: "SHARD_GRAD_OP", 3: "FULL_SHARD"}


def _types(recipe: Recipe) -> Keys:
    compute, weights = recipe.precision.compute, recipe.model.dtype
    if compute == "auto":
        return {"bf16": "auto"}
    if compute == "fp32":
        return {"bf16": False}
    if compute == "fp16":
        return {"float16": True} if weights == "fp16" else {"fp16": True}
    return {"bf16": True}


def _attention(recipe: Recipe) -> Keys:
    kind = recipe.model.attention
    if kind == "varlen":
        return {"sdpa_varlen": True}
    return {"attn_implementation": _ATTENTION[kind]} if kind in _ATTENTION else {}


def _kernels(recipe: Recipe) -> Keys:
    kernels = recipe.runtime.kernels
    keys: dict[str, Any] = {}
    plugins = []
    if kernels.cross_entropy != "auto":
        keys["cut_cross_entropy"] = kernels.cross_entropy == "on"
        plugins += [_CUT] if kernels.cross_entropy == "on" else []
    if kernels.liger == "on":
        keys |= {f"liger_{name}": True for name in ("rope", "rms_norm", "glu_activation")}
        plugins.append(_LIGER)
    elif kernels.liger == "off":
        keys["liger_rms_norm"] = False
    return {**keys, **({"plugins": plugins} if plugins else {})}


def _sharding(recipe: Recipe) -> Keys:
    parallel = recipe.parallel
    if parallel.engine == "deepspeed":
        return deepspeed(recipe)
    if parallel.engine != "fsdp" or parallel.stage not in _STRATEGIES:
        return {}
    constants: dict[str, Any] = dict(parallel.fsdp_config)
    if "reshard_after_forward" not in constants:
        constants["sharding_strategy"] = _STRATEGIES[parallel.stage]
    if parallel.offload_parameters and parallel.offload_optimizer:
        constants["offload_params"] = True
    if parallel.wrap:
        constants["transformer_layer_cls_to_wrap"] = ",".join(parallel.wrap)
    return {"fsdp_config": constants}


def _world(recipe: Recipe) -> Keys:
    """The processes, less those that share a layer or a sequence."""
    parallel = recipe.parallel
    share, rest = divmod(recipe.batch.world or 1, parallel.tensor * parallel.context)
    if recipe.batch.world is None or rest:
        return {}
    return {"dp_shard_size" if parallel.engine == "fsdp" else "dp_replicate_size": share}


MACHINE: tuple[Writer, ...] = (
    Writer(("precision.compute", "model.dtype"), _types, "bf16: true holds the weights in bf16 as well"),
    Writer(("model.attention",), _attention),
    Writer(("runtime.kernels.cross_entropy", "runtime.kernels.liger"), _kernels),
    one("runtime.gradient_checkpointing", "gradient_checkpointing"),
    one("runtime.checkpoint_offload", "activation_offloading", lambda moved: moved or None),
    Writer(
        (
            *("parallel.engine", "parallel.stage", "parallel.offload_optimizer", "parallel.offload_parameters"),
            *("parallel.wrap", "parallel.fsdp_config", "parallel.deepspeed", "parallel.deepspeed_config"),
        ),
        _sharding,
    ),
    Writer(("batch.world",), _world),
)
