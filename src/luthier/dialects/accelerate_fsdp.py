"""The ``fsdp_config`` of accelerate's YAML file."""

from __future__ import annotations

from typing import Any

from luthier.dialects.table import Cannot, Effect, Inert, Key, Row, Spread, Values, applied, inert

SHARDING = {"FULL_SHARD": 3, "SHARD_GRAD_OP": 2, "NO_SHARD": 0, "HYBRID_SHARD": 3, "HYBRID_SHARD_ZERO2": 2}
"""FSDP's strategies as stages of ZeRO; old files number them from 1."""

FSDP = "parallel.fsdp_config."


def _sharding(value: Any, values: Values) -> Effect:
    name = str(value).upper()
    if name.isdecimal() and 1 <= int(name) <= len(SHARDING):
        name = list(SHARDING)[int(name) - 1]
    if name not in SHARDING:
        raise Cannot(f"{value!r} is no sharding strategy", f"use one of: {', '.join(SHARDING)}")
    hybrid = {FSDP + "hybrid": True} if name.startswith("HYBRID") else {}
    return applied({"parallel.stage": SHARDING[name]} | hybrid)


def _reshard(value: Any, values: Values) -> Effect:
    if isinstance(value, bool):
        return applied({"parallel.stage": 3 if value else 2})
    return _sharding(value, values)


def _wrap(value: Any, values: Values) -> Effect:
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else list(value or [])
    return applied({"parallel.wrap": names}) if names else inert("each decoder layer is a unit")


def _policy(value: Any, values: Values) -> Effect:
    if value in ("TRANSFORMER_BASED_WRAP", 1):
        return inert("each decoder layer is a unit, or those that fsdp_transformer_layer_cls_to_wrap names")
    return applied({FSDP + "auto_wrap_policy": value})


def _fsdp_offload(value: Any, values: Values) -> Effect:
    return applied({"parallel.offload_parameters": bool(value), "parallel.offload_optimizer": bool(value)})


HANDED_OUT = "process 0 alone reads the weights and hands out their parts; packed bits each process reads itself"
_WHEN = "when layers are fetched changes speed, not the result; FSDP2 chooses"
_FILES = "checkpoints are written part by part and the result whole, whatever it says"
_NO_NEED = "FSDP1 alone has use of it"
_MEANS = {
    "cpu_ram_efficient_loading": HANDED_OUT,
    "sync_module_states": HANDED_OUT,
    "state_dict_type": _FILES,
    "use_orig_params": _NO_NEED,
    "limit_all_gathers": _NO_NEED,
    "min_num_params": _NO_NEED,
    "ignored_modules": "every module is shared out",
}
"""What becomes of what accelerate hands on to FSDP: it is kept for files that are written from the recipe."""


def _fsdp_kept(name: str) -> Row:
    target = FSDP + name.removeprefix("fsdp_")

    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: left at the default")
        return applied({target: value}, _MEANS.get(target.removeprefix(FSDP), _WHEN))

    return Spread("fsdp_config." + name, (target,), spread)


SHARDED: tuple[Row, ...] = (
    Inert("fsdp_config", "it is empty"),
    Spread("fsdp_config.fsdp_sharding_strategy", ("parallel.stage", FSDP + "hybrid"), _sharding),
    Spread("fsdp_config.fsdp_reshard_after_forward", ("parallel.stage", FSDP + "hybrid"), _reshard),
    Spread("fsdp_config.fsdp_transformer_layer_cls_to_wrap", ("parallel.wrap",), _wrap),
    Spread("fsdp_config.fsdp_auto_wrap_policy", (FSDP + "auto_wrap_policy",), _policy),
    Spread(
        "fsdp_config.fsdp_offload_params", ("parallel.offload_parameters", "parallel.offload_optimizer"), _fsdp_offload
    ),
    Key("fsdp_config.fsdp_activation_checkpointing", "runtime.gradient_checkpointing", bool),
    Inert("fsdp_config.fsdp_activation_checkpointing_offload", "where activations wait changes memory, not the result"),
    Inert("fsdp_config.fsdp_version", "FSDP2 shards, whichever version the file was written for"),
    *map(
        _fsdp_kept,
        (
            *("fsdp_backward_prefetch", "fsdp_backward_prefetch_policy", "fsdp_forward_prefetch"),
            *("fsdp_cpu_ram_efficient_loading", "fsdp_state_dict_type", "fsdp_sync_module_states"),
            *("fsdp_use_orig_params", "fsdp_min_num_params", "fsdp_limit_all_gathers", "fsdp_ignored_modules"),
        ),
    ),
)
