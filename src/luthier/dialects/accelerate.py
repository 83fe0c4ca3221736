"""The YAML file of ``accelerate launch``, and the same settings as words of its command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from luthier.dialects.companion import companion_read, named_document, yielding
from luthier.dialects.deepspeed import deepspeed_companion
from luthier.dialects.deepspeed_rows import KEPT
from luthier.dialects.document import Document, load_yaml
from luthier.dialects.table import (
    Cannot,
    Effect,
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
from luthier.dialects.tabular import Companion

ENGINES = {
    "NO": "single",
    "MULTI_GPU": "ddp",
    "MULTI_CPU": "ddp",
    "DEEPSPEED": "deepspeed",
    "FSDP": "fsdp",
}

SHARDING = {"FULL_SHARD": 3, "SHARD_GRAD_OP": 2, "NO_SHARD": 0, "HYBRID_SHARD": 3, "HYBRID_SHARD_ZERO2": 2}
"""FSDP's strategies as stages of ZeRO; old files number them from 1."""

FSDP = "parallel.fsdp_config."


def accelerate_companions(path: str, folder: Path) -> list[Companion]:
    """The accelerate file that a script in ``folder`` names, and the DeepSpeed file that it names in turn.

    Raises:
        RecipeError: a file is there and cannot be parsed.
    """
    document = named_document(path, folder, _yaml)
    given = [Companion(document, ACCELERATE_ROWS, Path(path).name + ": ")]
    deepspeed = document.value.get("deepspeed_config")
    inner = deepspeed.get("deepspeed_config_file") if isinstance(deepspeed, dict) else None
    if isinstance(inner, str) and inner not in ("", "none"):
        given.append(deepspeed_companion(inner, folder))
    return given


def launcher_rows() -> tuple[Row, ...]:
    """The same settings as words between ``accelerate launch`` and the script: ``launcher.num_processes`` …"""
    return tuple(
        replace(row.inner, name=f"launcher.{_last(row.name)}", old=tuple(f"launcher.{old}" for old in row.old))
        for row in ACCELERATE_ROWS
        if row.name not in ("deepspeed_config", "fsdp_config", "distributed_type")
    )


def _yaml(text: str, name: str) -> Document:
    return load_yaml(text, name, version="1.1")


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]


def _launcher_wins(row: Row) -> Callable[[Any, Values], Effect | None]:
    word = f"launcher.{_last(row.name)}"

    def before(value: Any, values: Values) -> Effect | None:
        return replaced({}, f"{word} on the command line wins") if word in values else None

    return before


def _engine(value: Any, values: Values) -> Effect:
    name = "NO" if value is False else str(value).upper()
    if name not in ENGINES:
        raise Cannot(f"there is no {value} engine", f"use one of: {', '.join(ENGINES)}")
    settings = {"parallel.engine": ENGINES[name]}
    return applied(settings | ({"runtime.device": "cpu"} if name == "MULTI_CPU" else {}))


def _chosen(engine: str) -> Callable[[Any, Values], Effect]:
    return lambda value, values: applied({"parallel.engine": engine}) if value else inert("it asks for nothing")


def _precision(value: Any, values: Values) -> Effect:
    given = next((flag for flag in ("bf16", "fp16") if str(values.get(flag)).lower() == "true"), None)
    if given:
        return inert(f"--{given} wins")
    name = "no" if value is False else str(value).lower()
    kinds = {"no": "fp32", "bf16": "bf16", "fp16": "fp16"}
    if name not in kinds:
        raise Cannot(f"{value!r} is not there", "use bf16, fp16 or no")
    return applied({"precision.compute": kinds[name]}, "neither --bf16 nor --fp16 is given")


def _cpu(value: Any, values: Values) -> Effect:
    return applied({"runtime.device": "cpu"}) if value else inert("it asks for nothing")


def _agreed(target: str, convert: Callable[[Any], Any]) -> Callable[[Any, Values], Effect]:
    def spread(value: Any, values: Values) -> Effect:
        if value in (None, "auto", "none"):
            return inert("auto: the recipe's own value")
        return applied({target: convert(value)})

    return spread


def _offload(target: str) -> Callable[[Any, Values], Effect]:
    def spread(value: Any, values: Values) -> Effect:
        device = str(value).lower()
        if device not in ("none", "cpu", "nvme"):
            raise Cannot(f"{value!r} is no device", "write none, cpu or nvme")
        return applied({target: device != "none"})

    return spread


def _deepspeed_file(value: Any, values: Values) -> Effect:
    if value in (None, "", "none"):
        return inert("no DeepSpeed file is named")
    if not companion_read(str(value), values):
        return refused(f"there is no DeepSpeed file {value}", "put it beside this file, or correct its path")
    return applied({"parallel.deepspeed": str(value)})


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


def _fsdp_kept(name: str) -> Row:
    target = FSDP + name.removeprefix("fsdp_")

    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: left at the default")
        return applied({target: value}, "handed on to FSDP")

    return Spread("fsdp_config." + name, (target,), spread)


def _deepspeed_kept(name: str) -> Row:
    return Spread(
        "deepspeed_config." + name,
        (KEPT + name,),
        lambda value, values: inert("none") if value in (None, "none") else applied({KEPT + name: value}),
    )


def _compiled(value: Any, values: Values) -> Effect:
    backend = str(value).lower()
    if value is False or backend in ("no", "none"):
        return applied({"runtime.compile": False})
    return applied({"runtime.compile": True, "runtime.compile_backend": backend})


_MEETING = "how processes find one another is the business of the machine at hand"
_TPU = "there are no TPUs here"

_ROWS: tuple[Row, ...] = (
    Inert("compute_environment", "the run is local", only=("LOCAL_MACHINE", 0), remedy="write LOCAL_MACHINE"),
    Spread("distributed_type", ("parallel.engine", "runtime.device"), _engine),
    Key("num_processes", "batch.world", int, note="the processes that the batch was meant for"),
    Spread("mixed_precision", ("precision.compute",), _precision),
    Spread("use_cpu", ("runtime.device",), _cpu, old=("cpu",)),
    Inert("debug", "it only checks the shapes that accelerate sends"),
    Inert("downcast_bf16", _TPU, only=("no", False), remedy="remove it"),
    Inert("num_machines", "num_processes counts the processes of all machines"),
    *(
        Inert(name, _MEETING)
        for name in (
            *("machine_rank", "main_process_ip", "main_process_port", "rdzv_backend", "rdzv_conf", "same_network"),
            *("role", "monitor_interval", "max_restarts", "gpu_ids", "enable_cpu_affinity", "mpirun_config"),
        )
    ),
    *(Inert(name, "Luthier starts itself") for name in ("main_training_function", "command_file", "commands")),
    *(
        Inert(name, _TPU, only=(False, "", ()), remedy="remove it")
        for name in ("tpu_use_cluster", "tpu_use_sudo", "tpu_name", "tpu_zone", "tpu_vm")
    ),
    Inert("tpu_env", _TPU, whole=True),
    Inert("ipex_config", "Intel's extension is not used", whole=True),
    Refused("fp8_config", "8-bit floats are not there", "remove it", (None, False, {}), whole=True),
    Refused("megatron_lm_config", "Megatron is not there", "remove it", (None, False, {}), whole=True),
    Inert("deepspeed_config", "it is empty"),
    Spread("deepspeed_config.zero_stage", ("parallel.stage",), _agreed("parallel.stage", int)),
    Spread(
        "deepspeed_config.offload_optimizer_device",
        ("parallel.offload_optimizer",),
        _offload("parallel.offload_optimizer"),
    ),
    Spread(
        "deepspeed_config.offload_param_device",
        ("parallel.offload_parameters",),
        _offload("parallel.offload_parameters"),
    ),
    *map(_deepspeed_kept, ("offload_optimizer_nvme_path", "offload_param_nvme_path", "deepspeed_moe_layer_cls_names")),
    Spread("deepspeed_config.gradient_accumulation_steps", ("batch.accumulation",), _agreed("batch.accumulation", int)),
    Spread(
        "deepspeed_config.gradient_clipping", ("optimizer.clip",), _agreed("optimizer.clip", lambda value: float(value))
    ),
    Spread("deepspeed_config.deepspeed_config_file", ("parallel.deepspeed",), _deepspeed_file),
    Inert("deepspeed_config.zero3_init_flag", "under stage 3 the weights are always read straight into their shards"),
    Inert("deepspeed_config.zero3_save_16bit_model", "the result is always gathered and saved whole"),
    *(
        Inert("deepspeed_config." + name, _MEETING)
        for name in (
            *("deepspeed_multinode_launcher", "deepspeed_hostfile"),
            *("deepspeed_inclusion_filter", "deepspeed_exclusion_filter"),
        )
    ),
    Inert("fsdp_config", "it is empty"),
    Spread("fsdp_config.fsdp_sharding_strategy", ("parallel.stage", FSDP + "hybrid"), _sharding),
    Spread("fsdp_config.fsdp_reshard_after_forward", ("parallel.stage", FSDP + "hybrid"), _reshard),
    Spread("fsdp_config.fsdp_transformer_layer_cls_to_wrap", ("parallel.wrap",), _wrap),
    Spread("fsdp_config.fsdp_auto_wrap_policy", (FSDP + "auto_wrap_policy",), _policy),
    Spread(
        "fsdp_config.fsdp_offload_params", ("parallel.offload_parameters", "parallel.offload_optimizer"), _fsdp_offload
    ),
    Key("fsdp_config.fsdp_activation_checkpointing", "runtime.gradient_checkpointing", bool),
    Inert("fsdp_config.fsdp_version", "FSDP2 shards, whichever version the file was written for"),
    *map(
        _fsdp_kept,
        (
            *("fsdp_backward_prefetch", "fsdp_backward_prefetch_policy", "fsdp_forward_prefetch"),
            *("fsdp_cpu_ram_efficient_loading", "fsdp_state_dict_type", "fsdp_sync_module_states"),
            *("fsdp_use_orig_params", "fsdp_min_num_params", "fsdp_limit_all_gathers", "fsdp_ignored_modules"),
        ),
    ),
    Spread("dynamo_config.dynamo_backend", ("runtime.compile", "runtime.compile_backend"), _compiled),
    Key("dynamo_config.dynamo_mode", "runtime.compile_mode", str),
    Inert("dynamo_config.dynamo_use_fullgraph", "whole graphs or pieces give one result"),
    Inert("dynamo_config.dynamo_use_dynamic", "fixed or free shapes give one result"),
    Key("parallelism_config.parallelism_config_tp_size", "parallel.tensor", int),
    Key("parallelism_config.parallelism_config_cp_size", "parallel.context", int),
)

ACCELERATE_ROWS = tuple(yielding(row, _launcher_wins(row)) for row in _ROWS)

CHOICES = tuple(
    Spread(f"launcher.{name}", ("parallel.engine",), _chosen(engine))
    for name, engine in (("multi_gpu", "ddp"), ("use_deepspeed", "deepspeed"), ("use_fsdp", "fsdp"))
)
"""The command line's words for what the file calls distributed_type."""
