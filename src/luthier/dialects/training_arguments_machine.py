"""TrainingArguments about the machine: devices, memory, speed, processes, display."""

from __future__ import annotations

from typing import Any

from luthier.dialects import names
from luthier.dialects.deepspeed import names_deepspeed
from luthier.dialects.plain_values import flag, mapping, number, text, whole
from luthier.dialects.table import Cannot, Effect, Key, Row, Spread, Values, applied, inert, replaced

_SHARDING = {"full_shard": 3, "shard_grad_op": 2, "no_shard": 0, "hybrid_shard": 3, "hybrid_shard_zero2": 2}
_LIGER = {
    "rms_norm": "runtime.kernels.rms_norm",
    "cross_entropy": "runtime.kernels.cross_entropy",
    "fused_linear_cross_entropy": "runtime.kernels.cross_entropy",
}
_IGNORED_FSDP = {"min_num_params": 0, "xla": False, "xla_fsdp_grad_ckpt": False, "xla_fsdp_v2": False}


def _on(value: Any) -> bool:
    return value is not None and flag(value)


def device(value: Any, values: Values) -> Effect:
    """``use_cpu`` and ``no_cuda``: either asks for the CPU."""
    cpu = _on(values.get("use_cpu")) or _on(values.get("no_cuda"))
    return applied({"runtime.device": "cpu" if cpu else "auto"}, "called no_cuda until transformers 4.33")


def gpu_of_a_mac(value: Any, values: Values) -> Effect:
    """``use_mps_device``."""
    if not _on(value):
        return inert("off")
    return replaced({}, "Apple's GPUs are not used: it computes on the device there is, to the same result")


def checkpointing_constants(value: Any, values: Values) -> Effect:
    """``gradient_checkpointing_kwargs``: only the form of checkpointing can differ; the gradients are the same."""
    given = mapping(value) if value else {}
    if given.get("use_reentrant") is None:
        return inert("nothing in it changes the result")
    return applied({"runtime.checkpoint_reentrant": flag(given["use_reentrant"])})


def compiling(value: Any, values: Values) -> Effect:
    """``torch_compile``, which a backend or a mode turned on as well."""
    asked = any(values.get(name) for name in ("torch_compile_backend", "torch_compile_mode", "torchdynamo"))
    return applied({"runtime.compile": asked or _on(value)})


def compiling_with(target: str) -> Any:
    """``torch_compile_backend``, ``torch_compile_mode``: naming one turns compiling on."""

    def spread(value: Any, values: Values) -> Effect:
        if not value:
            return inert("not set")
        return applied({"runtime.compile": True, target: text(value)})

    return spread


def debugging(value: Any, values: Values) -> Effect:
    """``debug``: a list of options or their names in one text."""
    listed = value if isinstance(value, list) else str(value or "").split()
    asked = [str(one).rsplit(".", 1)[-1].lower() for one in listed if one]
    other = [one for one in asked if one not in ("underflow_overflow", "tpu_metrics_debug")]
    if other:
        raise Cannot(f"{other[0]} is not there", "keep underflow_overflow only")
    if "underflow_overflow" in asked:
        return applied({"runtime.debug": True})
    return inert("TPUs' figures are not printed" if asked else "nothing is asked for")


def progress(value: Any) -> bool:
    """``disable_tqdm``, the other way round."""
    return not flag(value)


def liger(value: Any) -> str:
    """``use_liger_kernel``."""
    return "on" if flag(value) else "off"


def liger_pieces(value: Any, values: Values) -> Effect:
    """``liger_kernel_config``: which kernels; those that are settings here become settings."""
    if not value or not _on(values.get("use_liger_kernel")):
        return inert("use_liger_kernel is off" if value else "not set")
    given = mapping(value)
    made = {_LIGER[name]: "on" if flag(on) else "off" for name, on in given.items() if name in _LIGER}
    note = "the other kernels change speed and memory, not the result"
    return applied(made, note) if made else inert(note)


def fsdp(value: Any, values: Values) -> Effect:
    """``fsdp``: a list of options or their names in one text."""
    if value is True:
        value = "full_shard"
    listed = value if isinstance(value, list) else str(value or "").replace(",", " ").split()
    asked = [str(one).rsplit(".", 1)[-1].lower() for one in listed if one and str(one).lower() != "false"]
    if not asked:
        return inert("not asked for")
    settings: dict[str, Any] = {"parallel.engine": "fsdp"}
    config = values.get("fsdp_config")
    within = config if isinstance(config, dict) else {}
    said = any(within.get(name) is not None for name in ("reshard_after_forward", "fsdp_reshard_after_forward"))
    for one in asked:
        if one in _SHARDING:
            if not said:
                settings["parallel.stage"] = _SHARDING[one]
            if one.startswith("hybrid"):
                settings["parallel.fsdp_config.hybrid"] = True
        elif one == "offload":
            settings |= {"parallel.offload_parameters": True, "parallel.offload_optimizer": True}
        elif one != "auto_wrap":
            raise Cannot(f"{one} is no way of sharding", f"write one of: {', '.join(_SHARDING)}")
    if settings.get("parallel.stage") == 0:
        settings["parallel.engine"] = "ddp"
    return applied(settings)


def fsdp_constants(value: Any, values: Values) -> Effect:
    """``fsdp_config``: layers to wrap and checkpointing are settings, the rest goes along as it is."""
    if not value:
        return inert("not set")
    if isinstance(value, str) and not value.strip().startswith("{"):
        raise Cannot(f"it names another file, {value!r}", "write what that file says here")
    settings: dict[str, Any] = {}
    for long_name, constant in mapping(value).items():
        name = long_name.removeprefix("fsdp_")
        if name in _IGNORED_FSDP and constant == _IGNORED_FSDP[name]:
            continue
        if name.startswith("xla"):
            continue
        if name == "transformer_layer_cls_to_wrap":
            settings["parallel.wrap"] = _layers(constant)
        elif name == "version":
            continue  # FSDP2 shards, whichever is named
        elif name == "reshard_after_forward" and not values.get("fsdp"):
            continue
        elif name == "reshard_after_forward":
            settings["parallel.stage"] = _resharded(constant)
        elif name in ("cpu_offload", "offload_params"):
            settings |= dict.fromkeys(("parallel.offload_parameters", "parallel.offload_optimizer"), flag(constant))
        elif name == "activation_checkpointing":
            settings["runtime.gradient_checkpointing"] = flag(constant)
        else:
            settings["parallel.fsdp_config"] = {**settings.get("parallel.fsdp_config", {}), name: constant}
    return applied(settings) if settings else inert("it asks for nothing, or for TPUs, which are not there")


def _resharded(value: Any) -> int:
    """``reshard_after_forward``: true or false since FSDP2, before it a strategy's name."""
    name = str(value).rsplit(".", 1)[-1].lower()
    if name in _SHARDING:
        return _SHARDING[name]
    return 3 if flag(value) else 2


def _layers(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else str(value or "").split(",")
    return [str(one).strip() for one in listed if one]


def fewest_parameters(value: Any, values: Values) -> Effect:
    """``fsdp_min_num_params``."""
    return applied({"parallel.fsdp_config.min_num_params": whole(value)}) if value else inert("0 asks for nothing")


def parallelism(value: Any, values: Values) -> Effect:
    """``parallelism_config``: sizes of the device mesh."""
    targets = {"tp_size": "parallel.tensor", "cp_size": "parallel.context", "sp_size": "parallel.context"}
    settings: dict[str, Any] = {}
    for name, size in (mapping(value) if value else {}).items():
        if name in targets and (whole(size) > 1 or targets[name] not in settings):
            settings[targets[name]] = whole(size)
    shared = any(size > 1 for size in settings.values())
    note = "processes that share a model or a sequence share a micro-batch: a step has fewer of them" if shared else ""
    return applied(settings, note) if settings else inert("it asks for nothing")


_DDP = "parallel.ddp."

MACHINE: tuple[Row, ...] = (
    Spread("use_cpu", ("runtime.device",), device),
    Spread("no_cuda", ("runtime.device",), device),
    Spread("use_mps_device", (), gpu_of_a_mac),
    Key("full_determinism", "runtime.deterministic", flag),
    Key("gradient_checkpointing", "runtime.gradient_checkpointing", flag, old=("activation_checkpointing",)),
    Spread(
        "gradient_checkpointing_kwargs",
        ("runtime.checkpoint_reentrant",),
        checkpointing_constants,
        old=("activation_checkpointing_kwargs",),
        whole=True,
    ),
    Spread("torch_compile", ("runtime.compile",), compiling),
    Spread(
        "torch_compile_backend",
        ("runtime.compile_backend", "runtime.compile"),
        compiling_with("runtime.compile_backend"),
    ),
    Spread("torchdynamo", ("runtime.compile_backend", "runtime.compile"), compiling_with("runtime.compile_backend")),
    Spread("torch_compile_mode", ("runtime.compile_mode", "runtime.compile"), compiling_with("runtime.compile_mode")),
    Key("dataloader_num_workers", "runtime.loader_workers", whole),
    Key("dataloader_pin_memory", "runtime.pin_memory", flag),
    Key("disable_tqdm", "runtime.progress", progress),
    Key("log_level", "runtime.log_level", names.log_level),
    Spread("debug", ("runtime.debug",), debugging),
    Key("use_liger_kernel", "runtime.kernels.liger", liger),
    Spread(
        "liger_kernel_config",
        ("runtime.kernels.rms_norm", "runtime.kernels.cross_entropy"),
        liger_pieces,
        whole=True,
    ),
    Key("ddp_find_unused_parameters", _DDP + "find_unused_parameters", flag),
    Key("ddp_bucket_cap_mb", _DDP + "bucket_cap_mb", number),
    Key("ddp_broadcast_buffers", _DDP + "broadcast_buffers", flag),
    Key("ddp_static_graph", _DDP + "static_graph", flag),
    Key("ddp_backend", "parallel.backend", text, old=("xpu_backend",)),
    Key("ddp_timeout", "parallel.timeout", whole),
    Spread(
        "fsdp",
        (
            *("parallel.engine", "parallel.stage", "parallel.offload_parameters", "parallel.offload_optimizer"),
            "parallel.fsdp_config.hybrid",
        ),
        fsdp,
    ),
    Spread(
        "fsdp_config",
        (
            *("parallel.wrap", "parallel.fsdp_config", "parallel.stage", "parallel.offload_parameters"),
            *("parallel.offload_optimizer", "runtime.gradient_checkpointing"),
        ),
        fsdp_constants,
        whole=True,
    ),
    Spread("fsdp_min_num_params", ("parallel.fsdp_config.min_num_params",), fewest_parameters),
    Key("fsdp_transformer_layer_cls_to_wrap", "parallel.wrap", _layers),
    Spread(
        "deepspeed",
        ("parallel.engine", "parallel.deepspeed"),
        names_deepspeed,
        whole=True,
    ),
    Spread("parallelism_config", ("parallel.tensor", "parallel.context"), parallelism, whole=True),
)
