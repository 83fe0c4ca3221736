"""How TrainingArguments says the machine: devices, kernels, sharding."""

from __future__ import annotations

from typing import Any

from luthier.convert.sheet import Keys, Writer, one
from luthier.recipe import Recipe

_STRATEGIES = {2: "shard_grad_op", 3: "full_shard"}
_AUTO: dict[str, Any] = {
    **dict.fromkeys(("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"), "auto"),
    **{half: {"enabled": "auto"} for half in ("bf16", "fp16")},
}


def deepspeed_tree(recipe: Recipe) -> dict[str, Any]:
    """DeepSpeed's settings where no file of its own holds them; the recipe's numbers are left to it as auto."""
    parallel = recipe.parallel
    given = dict(parallel.deepspeed_config)
    inner = given.get("zero_optimization")
    zero: dict[str, Any] = {"stage": parallel.stage, **(inner if isinstance(inner, dict) else {})}
    for part, on in (("offload_optimizer", parallel.offload_optimizer), ("offload_param", parallel.offload_parameters)):
        if on:
            more = zero.get(part)
            zero[part] = {"device": "cpu", **(more if isinstance(more, dict) else {})}
    return {**_AUTO, **given, "zero_optimization": zero}


def deepspeed(recipe: Recipe) -> Keys:
    """The DeepSpeed file by its name, or its settings themselves."""
    if recipe.parallel.engine != "deepspeed":
        return {}
    return {"deepspeed": recipe.parallel.deepspeed or deepspeed_tree(recipe)}


def _sharding(recipe: Recipe) -> Keys:
    parallel = recipe.parallel
    if parallel.engine == "deepspeed":
        return deepspeed(recipe)
    keys: dict[str, Any] = {}
    if parallel.engine == "ddp":
        keys["fsdp"] = ["no_shard"]
    elif parallel.engine == "fsdp" and parallel.stage != 1:
        offload = ["offload"] if parallel.offload_parameters and parallel.offload_optimizer else []
        stage = _STRATEGIES.get(parallel.stage)
        keys["fsdp"] = [*([stage] if stage else []), *offload, "auto_wrap"]
    constants: dict[str, Any] = dict(parallel.fsdp_config)
    if parallel.wrap:
        constants["transformer_layer_cls_to_wrap"] = list(parallel.wrap)
    return {**keys, **({"fsdp_config": constants} if constants else {})}


def _compiling(recipe: Recipe) -> Keys:
    runtime = recipe.runtime
    if not runtime.compile:
        return {}
    more = {"torch_compile_backend": runtime.compile_backend, "torch_compile_mode": runtime.compile_mode}
    return {"torch_compile": True, **{key: value for key, value in more.items() if value is not None}}


def _liger(recipe: Recipe) -> Keys:
    kernels = recipe.runtime.kernels
    if kernels.liger != "on":
        return {"use_liger_kernel": False} if kernels.liger == "off" else {}
    pieces = {name: getattr(kernels, name) for name in ("rms_norm", "cross_entropy")}
    asked = {name: how == "on" for name, how in pieces.items() if how != "auto"}
    return {"use_liger_kernel": True, **({"liger_kernel_config": asked} if asked else {})}


def _mesh(recipe: Recipe) -> Keys:
    sizes = {"tp_size": recipe.parallel.tensor, "cp_size": recipe.parallel.context}
    return {"parallelism_config": {name: size for name, size in sizes.items() if size > 1}}


MACHINE: tuple[Writer, ...] = (
    Writer(("runtime.device",), lambda recipe: {"use_cpu": True} if recipe.runtime.device == "cpu" else {}),
    one("runtime.checkpoint_reentrant", "gradient_checkpointing_kwargs", lambda on: {"use_reentrant": on}),
    Writer(("runtime.compile", "runtime.compile_backend", "runtime.compile_mode"), _compiling),
    Writer(("runtime.kernels.liger", "runtime.kernels.rms_norm", "runtime.kernels.cross_entropy"), _liger),
    one("runtime.debug", "debug", lambda on: "underflow_overflow" if on else None),
    Writer(
        (
            *("parallel.engine", "parallel.stage", "parallel.offload_optimizer", "parallel.offload_parameters"),
            *("parallel.wrap", "parallel.fsdp_config", "parallel.deepspeed", "parallel.deepspeed_config"),
        ),
        _sharding,
    ),
    Writer(("parallel.tensor", "parallel.context"), _mesh),
)
