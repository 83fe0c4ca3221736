"""The script's flags about the weights: which, in how many bits, with which adapter, under which kernels."""

from __future__ import annotations

from typing import Any

from luthier.dialects.plain_values import flag, number, whole
from luthier.dialects.table import Cannot, Default, Effect, Gather, Key, Row, Spread, Values, applied, inert, replaced

DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "fp32": "fp32", "fp16": "fp16", "bf16": "bf16"}

MODULES = "q_proj,k_proj,v_proj,o_proj,down_proj,up_proj,gate_proj"
"""Layers that get LoRA when none are named."""


def on(values: Values, name: str) -> bool:
    """Whether a switch is given and on.

    >>> on({"packing": "True"}, "packing"), on({}, "packing")
    (True, False)
    """
    return str(values.get(name)).lower() in ("true", "yes", "t", "y", "1")


def four_bits(values: Values) -> bool:
    """Whether the weights are held in 4 bits."""
    return on(values, "use_4bit_quantization")


def has_lora(values: Values) -> bool:
    """Whether LoRA trains; Unsloth's path always added it."""
    return on(values, "use_peft_lora") or on(values, "use_unsloth")


def _bits(values: Values) -> Effect:
    eight = on(values, "use_8bit_quantization") or on(values, "use_8bit_qunatization")
    return applied({"quantise.bits": 4 if four_bits(values) else 8 if eight else 16})


def _adapter(values: Values) -> Effect:
    return applied({"adapter.kind": "lora" if has_lora(values) else "none"})


def _unsloth(value: Any, values: Values) -> Effect:
    if not flag(value):
        return inert("it asks for nothing")
    reason = "Unsloth's kernels change speed, not the result; Luthier picks its own"
    return inert(reason) if on(values, "use_peft_lora") else applied({"adapter.kind": "lora"}, reason)


def dtype(value: Any) -> str:
    """torch's name of a number type as ours."""
    name = str(value).removeprefix("torch.")
    if name not in DTYPES:
        raise Cannot(f"{value!r} is no number type here", "use bfloat16, float16 or float32")
    return DTYPES[name]


def _storage(value: Any, values: Values) -> Effect:
    if not four_bits(values):
        return inert("the weights are not held in 4 bits")
    if value == "uint8":
        return applied({"quantise.storage": "uint8", "model.dtype": "fp32"}, "weights that stay whole load in fp32")
    kind = dtype(value)
    return applied({"quantise.storage": kind, "model.dtype": kind}, "the weights that stay whole load in it as well")


def _targets(value: Any) -> Any:
    listed = value if isinstance(value, list) else str(value).split(",")
    names = [str(name).strip() for name in listed if str(name).strip()]
    return "all-linear" if names == ["all-linear"] else names


def _attention(value: Any, values: Values) -> Effect:
    if flag(value):
        return applied({"model.attention": "flash"})
    return replaced({"model.attention": "auto"}, "eager attention then; any kernel has the same result up to rounding")


def _loftq(value: Any, values: Values) -> Effect:
    return applied({"adapter.init": "loftq"}, "a fork's flag") if flag(value) else inert("it asks for nothing")


MODEL: tuple[Row, ...] = (
    Key("model_name_or_path", "model.path", str),
    Gather("use_peft_lora", ("adapter.kind",), _adapter),
    Key("lora_r", "adapter.rank", whole),
    Key("lora_alpha", "adapter.alpha", number),
    Key("lora_dropout", "adapter.dropout", number),
    Key("lora_target_modules", "adapter.targets", _targets),
    Gather("use_4bit_quantization", ("quantise.bits",), _bits),
    Gather("use_8bit_quantization", ("quantise.bits",), _bits, old=("use_8bit_qunatization",)),
    Key("use_nested_quant", "quantise.double", flag),
    Key("bnb_4bit_quant_type", "quantise.kind", str),
    Key("bnb_4bit_compute_dtype", "quantise.compute", dtype),
    Spread("bnb_4bit_quant_storage_dtype", ("quantise.storage", "model.dtype"), _storage),
    Spread("use_flash_attn", ("model.attention",), _attention),
    Key("use_reentrant", "runtime.checkpoint_reentrant", flag),
    Spread("use_unsloth", ("adapter.kind",), _unsloth),
    Spread("use_loftq", ("adapter.init",), _loftq),
    Key("use_gradient_checkpointing", "runtime.gradient_checkpointing", flag, note="a fork's flag"),
)


def _whole_weights(values: Values) -> bool:
    return not on(values, "use_unsloth")


MODEL_DEFAULTS: tuple[Default, ...] = (
    Default("use_peft_lora", False, {"adapter.kind": "none"}, when=lambda values: not has_lora(values)),
    Default("lora_r", 64, {"adapter.rank": 64}, when=has_lora),
    Default("lora_alpha", 16, {"adapter.alpha": 16.0}, when=has_lora),
    Default("lora_dropout", 0.1, {"adapter.dropout": 0.1}, when=has_lora),
    Default("lora_target_modules", MODULES, {"adapter.targets": MODULES.split(",")}, when=has_lora),
    Default("bnb_4bit_compute_dtype", "float16", {"quantise.compute": "fp16"}, when=four_bits),
    Default(
        "bnb_4bit_quant_storage_dtype",
        "uint8",
        {"model.dtype": "fp32"},
        "weights that stay whole load in fp32, also under bf16",
        when=_whole_weights,
    ),
    Default(
        "use_flash_attn", False, {"model.attention": "auto"}, "eager attention then; the same result up to rounding"
    ),
    Default("use_reentrant", False, {"runtime.checkpoint_reentrant": False}),
)
