"""The YAML file of ``accelerate launch``, and the same settings as words of its command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from luthier.dialects.accelerate_fsdp import HANDED_OUT, SHARDED
from luthier.dialects.accelerate_megatron import MEGATRON, agreed, layers, sequence
from luthier.dialects.companion import companion_read, named_document, yielding
from luthier.dialects.deepspeed import deepspeed_companion
from luthier.dialects.deepspeed_kept import KEPT
from luthier.dialects.document import Document, load_yaml
from luthier.dialects.table import (
    Cannot,
    Effect,
    Inert,
    Key,
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

INSTEAD = {
    **{f"MULTI_{device}": "ddp" for device in ("XPU", "NPU", "MLU", "SDAA", "MUSA", "HPU", "NEURON")},
    "XLA": "ddp",
    "TPU": "ddp",
    "TP": "ddp",
    "MEGATRON_LM": "fsdp",
}
"""Engines and devices that are not there -> the engine that comes to the same result."""


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
        replace(row.inner, name=f"launcher.{_last(row.name)}", old=tuple(f"launcher.{_last(old)}" for old in row.old))
        for row in ACCELERATE_ROWS
        if row.name not in ("deepspeed_config", "fsdp_config", "distributed_type")
    ) + tuple(Inert(f"launcher.fp8_{name}", _NO_FP8) for name in _FP8)


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
    if name in INSTEAD:
        return replaced({"parallel.engine": INSTEAD[name]}, "it is not there; another engine has the same result")
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
    if name == "fp8":
        return replaced({"precision.compute": "bf16"}, "products in 8 bits are replaced by those of bf16, more exact")
    kinds = {"no": "fp32", "bf16": "bf16", "fp16": "fp16"}
    if name not in kinds:
        raise Cannot(f"{value!r} is not there", "use bf16, fp16 or no")
    return applied({"precision.compute": kinds[name]}, "neither --bf16 nor --fp16 is given")


def _old_half(value: Any, values: Values) -> Effect:
    """``fp16``, which ``mixed_precision`` took over in accelerate 0.5."""
    if str(value).lower() not in ("true", "1"):
        return inert("off")
    if any(key.endswith((": mixed_precision", "launcher.mixed_precision")) for key in values):
        return inert("mixed_precision says it")
    return _precision("fp16", {key: one for key, one in values.items() if key != "fp16"})


def _cpu(value: Any, values: Values) -> Effect:
    return applied({"runtime.device": "cpu"}) if value else inert("it asks for nothing")


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
        return refused(
            f"there is no DeepSpeed file {value} in the script's folder or one above it",
            "put it there, or correct its path",
        )
    return applied({"parallel.deepspeed": str(value)})


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


_MESH = "parallelism_config.parallelism_config_"
_MEETING = "how processes find one another is the business of the machine at hand"
_TPU = "there are no TPUs here"
_NO_FP8 = "products in 8 bits are replaced by those of bf16, which are more exact"
_FP8 = (
    *("backend", "use_autocast_during_eval", "margin", "interval", "format", "amax_history_len", "amax_compute_algo"),
    *("override_linear_precision", "opt_level", "enable_fsdp_float8_all_gather", "pad_inner_dim"),
)
"""The command line's words for what the file has below fp8_config."""

_ROWS: tuple[Row, ...] = (
    Inert("compute_environment", "where the run was started changes nothing; it is local here"),
    Spread("distributed_type", ("parallel.engine", "runtime.device"), _engine),
    Key("num_processes", "batch.world", int, note="the processes that the batch was meant for"),
    Spread("mixed_precision", ("precision.compute",), _precision),
    Spread("fp16", ("precision.compute",), _old_half),
    Spread("use_cpu", ("runtime.device",), _cpu, old=("cpu",)),
    Inert("debug", "it only checks the shapes that accelerate sends"),
    Inert("downcast_bf16", _TPU),
    Inert("num_machines", "num_processes counts the processes of all machines"),
    *(
        Inert(name, _MEETING)
        for name in (
            *("machine_rank", "main_process_ip", "main_process_port", "rdzv_backend", "rdzv_conf", "same_network"),
            *("role", "monitor_interval", "max_restarts", "gpu_ids", "enable_cpu_affinity", "mpirun_config"),
        )
    ),
    *(Inert(name, "Luthier starts itself") for name in ("main_training_function", "command_file", "commands")),
    *(Inert(name, _TPU) for name in ("tpu_use_cluster", "tpu_use_sudo", "tpu_name", "tpu_zone", "tpu_vm")),
    Inert("tpu_env", _TPU, whole=True),
    Inert("ipex_config", "Intel's extension is not used", whole=True),
    Inert("fp8_config", _NO_FP8, whole=True),
    *MEGATRON,
    Inert("deepspeed_config", "it is empty"),
    Spread("deepspeed_config.zero_stage", ("parallel.stage",), agreed("parallel.stage", int)),
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
    Spread("deepspeed_config.gradient_accumulation_steps", ("batch.accumulation",), agreed("batch.accumulation", int)),
    Spread(
        "deepspeed_config.gradient_clipping", ("optimizer.clip",), agreed("optimizer.clip", lambda value: float(value))
    ),
    Spread("deepspeed_config.deepspeed_config_file", ("parallel.deepspeed",), _deepspeed_file),
    Inert("deepspeed_config.zero3_init_flag", HANDED_OUT),
    Inert("deepspeed_config.zero3_save_16bit_model", "the result is always gathered and saved whole"),
    *(
        Inert("deepspeed_config." + name, _MEETING)
        for name in (
            *("deepspeed_multinode_launcher", "deepspeed_hostfile"),
            *("deepspeed_inclusion_filter", "deepspeed_exclusion_filter"),
        )
    ),
    *SHARDED,
    Spread(
        "dynamo_config.dynamo_backend",
        ("runtime.compile", "runtime.compile_backend"),
        _compiled,
        old=("dynamo_backend",),
    ),
    Key("dynamo_config.dynamo_mode", "runtime.compile_mode", str),
    Inert("dynamo_config.dynamo_use_fullgraph", "whole graphs or pieces give one result"),
    Inert("dynamo_config.dynamo_use_dynamic", "fixed or free shapes give one result"),
    Inert("dynamo_config.dynamo_use_regional_compilation", "layers are compiled one by one; the result is the same"),
    Inert("dynamo_config", "it is empty"),
    Inert("parallelism_config", "it is empty"),
    Spread(_MESH + "sp_size", ("parallel.context",), sequence, old=(_MESH + "cp_size",)),
    Spread(_MESH + "tp_size", ("parallel.tensor",), layers),
    *(
        Inert(_MESH + name, "how the processes are ordered and exchange; their number is num_processes")
        for name in (
            *("dp_replicate_size", "dp_shard_size", "cp_backend", "cp_comm_strategy", "sp_backend"),
            *("sp_seq_length", "sp_seq_length_is_variable", "sp_attn_implementation"),
        )
    ),
)

ACCELERATE_ROWS = tuple(yielding(row, _launcher_wins(row)) for row in _ROWS)

CHOICES = (
    *(
        Spread(f"launcher.{name}", ("parallel.engine",), _chosen(engine))
        for name, engine in (("multi_gpu", "ddp"), ("use_deepspeed", "deepspeed"), ("use_fsdp", "fsdp"))
    ),
    Spread(
        "launcher.use_megatron_lm",
        ("parallel.engine",),
        lambda value, values: _engine("MEGATRON_LM", values) if value else inert("it asks for nothing"),
    ),
)
"""The command line's words for what the file calls distributed_type."""
