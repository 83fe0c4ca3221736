"""The keys of DeepSpeed's JSON file; "auto" in it means what the recipe says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

from luthier.dialects.companion import found
from luthier.dialects.table import (
    Cannot,
    Effect,
    Inert,
    Refused,
    Row,
    Spread,
    Values,
    applied,
    inert,
    refused,
    replaced,
)

AUTO = "auto: the recipe's own value"
KEPT = "parallel.deepspeed_config."

OPTIMIZERS = {"adam": "adamw", "adamw": "adamw", "sgd": "sgd", "lion": "lion", "adagrad": "adagrad", "lamb": "lamb"}

SCHEDULES = {
    ("warmuplr", "log"): "warmup_log_constant",
    ("warmuplr", "linear"): "constant",
    ("warmupdecaylr", "log"): "warmup_log_linear",
    ("warmupdecaylr", "linear"): "linear",
    ("warmupcosinelr", "log"): "warmup_log_cosine",
    ("warmupcosinelr", "linear"): "cosine",
}
"""(type, warmup_type) -> our curve; DeepSpeed's own warm-up is logarithmic unless told otherwise."""


def agreed(name: str, target: str, convert: Callable[[Any], Any]) -> Row:
    """A number that the recipe says as well; where the two differ, reading refuses the second."""

    def spread(value: Any, values: Values) -> Effect:
        if value is None or value == "auto":
            return inert(AUTO)
        return applied({target: convert(value)})

    return Spread(name, (target,), spread)


def kept(*names: str) -> Iterator[Row]:
    """Settings of the engine's own, handed on as they are."""
    for name in names:
        yield Spread(name, (KEPT + name,), _keeper(name))


def _keeper(name: str) -> Callable[[Any, Values], Effect]:
    return lambda value, values: _keep(name, value)


def _keep(name: str, value: Any) -> Effect:
    if value is None or value == "auto":
        return inert("auto: the engine's own choice")
    return applied({KEPT + name: value}, "handed on to DeepSpeed")


def _train_batch(value: Any, values: Values) -> Effect:
    if value is None or value == "auto":
        return inert("auto: micro-batch x accumulation x processes")
    micro = _first(values, "train_micro_batch_size_per_gpu", "per_device_train_batch_size")
    accumulation = _first(values, "gradient_accumulation_steps")
    if micro is None or accumulation is None:
        raise Cannot("it says only the product of three numbers", "say micro-batch and accumulation too")
    each = prod((int(micro), int(accumulation)))
    if not each or int(value) % each:
        raise Cannot(f"{value} is no multiple of {micro} x {accumulation}", "make it micro x accumulation x processes")
    return applied({"batch.world": int(value) // each}, "micro-batch x accumulation x processes")


def _first(values: Values, *names: str) -> Any:
    says = (found(values, name) for name in names)
    return next((value for value in says if value is not None and value != "auto"), None)


def _half(kind: str) -> Callable[[Any, Values], Effect]:
    def spread(value: Any, values: Values) -> Effect:
        if value is None or value == "auto":
            return inert(AUTO)
        if value is True:
            return applied({"precision.compute": kind})
        if any(one is True for key, one in values.items() if key.rsplit(".", 1)[-1] == kind):
            raise Cannot(f"it is off here, and the recipe says {kind}", "write auto")
        return inert("off")

    return spread


def _scaler(name: str) -> Row:
    def spread(value: Any, values: Values) -> Effect:
        own = found(values, "fp16.enabled")
        if own is True or (own in (None, "auto") and found(values, "fp16") is True):
            return _keep(name, value)
        return inert("nothing computes in fp16, so no loss is scaled")

    return Spread(name, (KEPT + name,), spread)


def _optimizer(value: Any, values: Values) -> Effect:
    kind = OPTIMIZERS.get(str(value).lower())
    if kind is None:
        raise Cannot(f"DeepSpeed's optimiser {value!r} is not there", f"use one of: {', '.join(OPTIMIZERS)}")
    if found(values, "optimizer.params.adam_w_mode") is False and kind == "adamw":
        raise Cannot("Adam with an L2 term in the loss is not there", "remove adam_w_mode: weight decay is decoupled")
    return applied({"optimizer.kind": kind}, "it replaces the recipe's own optimiser")


def _betas(value: Any, values: Values) -> Effect:
    if value is None or value == "auto":
        return inert(AUTO)
    first, second = value
    return applied({"optimizer.beta1": float(first), "optimizer.beta2": float(second)})


def _schedule(value: Any, values: Values) -> Effect:
    warmup = str(found(values, "scheduler.params.warmup_type") or "log").lower()
    kind = SCHEDULES.get((str(value).lower(), warmup))
    if kind is None:
        raise Cannot(f"DeepSpeed's schedule {value!r} is not there", "use WarmupLR, WarmupDecayLR or WarmupCosineLR")
    told = "a logarithmic warm-up" if kind.startswith("warmup_log") else "a linear warm-up"
    after = {"warmuplr": "a constant rate", "warmupdecaylr": "a straight line down"}.get(str(value).lower(), "a cosine")
    return applied({"schedule.kind": kind}, f"it replaces the recipe's own schedule: {told}, then {after}")


def _warmup_type(value: Any, values: Values) -> Effect:
    if str(value).lower() not in ("log", "linear"):
        raise Cannot(f"{value!r} is no warm-up", "write log or linear")
    return replaced({}, "part of schedule.kind")


def _lowest(value: Any, values: Values) -> Effect:
    if value in (None, "auto", 0):
        return inert("the warm-up starts at 0")
    return applied({"schedule.args.warmup_min_lr": float(value)})


def _whole_run(value: Any, values: Values) -> Effect:
    if value in (None, "auto") or value == found(values, "max_steps"):
        return inert("the schedule ends with the run")
    raise Cannot("the schedule ends with the run", "write auto, or the same number as max_steps")


def _offload(part: str, target: str) -> Callable[[Any, Values], Effect]:
    def spread(value: Any, values: Values) -> Effect:
        if value in (None, "none"):
            return applied({target: False})
        if value == "nvme":
            return applied({target: True, f"{KEPT}zero_optimization.{part}.device": "nvme"}, "to a disk, by DeepSpeed")
        if value != "cpu":
            raise Cannot(f"{value!r} is no device", "write none, cpu or nvme")
        return applied({target: True})

    return spread


def _switch(target: str) -> Callable[[Any, Values], Effect]:
    return lambda value, values: applied({target: bool(value)})


def _stage(value: Any, values: Values) -> Effect:
    if value not in (0, 1, 2, 3):
        raise Cannot(f"there is no stage {value!r}", "write 0, 1, 2 or 3")
    return applied({"parallel.engine": "deepspeed", "parallel.stage": int(value)})


def _switched(value: Any, values: Values) -> Effect:
    return _stage(int(bool(value)), values)


def _foreign(name: str, reason: str, remedy: str) -> Row:
    """A block that is refused when it is switched on."""

    def spread(value: Any, values: Values) -> Effect:
        on = value.get("enabled", True) if isinstance(value, dict) else value
        return refused(reason, remedy) if on else inert("switched off")

    return Spread(name, (), spread, whole=True)


_ZERO = "zero_optimization."
_PARAMS = "scheduler.params."

DEEPSPEED_ROWS: tuple[Row, ...] = (
    agreed("train_micro_batch_size_per_gpu", "batch.micro", int),
    agreed("gradient_accumulation_steps", "batch.accumulation", int),
    agreed("gradient_clipping", "optimizer.clip", lambda value: float(value) or None),
    Spread("train_batch_size", ("batch.world",), _train_batch),
    *(
        Inert(name, "DeepSpeed's own log; the run's events have every step")
        for name in ("steps_per_print", "wall_clock_breakdown", "dump_state", "memory_breakdown")
    ),
    Inert("zero_allow_untested_optimizer", "it only lifts a guard of DeepSpeed's"),
    Spread("fp16.enabled", ("precision.compute",), _half("fp16")),
    Spread("bf16.enabled", ("precision.compute",), _half("bf16"), old=("bfloat16.enabled",)),
    *map(
        _scaler,
        (
            *("fp16.loss_scale", "fp16.loss_scale_window", "fp16.initial_scale_power", "fp16.hysteresis"),
            *("fp16.min_loss_scale", "fp16.consecutive_hysteresis", "fp16.auto_cast"),
        ),
    ),
    Spread("optimizer.type", ("optimizer.kind",), _optimizer),
    agreed("optimizer.params.lr", "optimizer.lr", float),
    Spread("optimizer.params.betas", ("optimizer.beta1", "optimizer.beta2"), _betas),
    agreed("optimizer.params.eps", "optimizer.epsilon", float),
    agreed("optimizer.params.weight_decay", "optimizer.weight_decay", float),
    Inert("optimizer.params.adam_w_mode", "weight decay is decoupled", only=(True,), remedy="remove it"),
    Inert("optimizer.params.bias_correction", "Adam's means are corrected", only=(True,), remedy="remove it"),
    *(
        Inert(f"optimizer.params.{name}", "which kernel computes it changes no result")
        for name in ("torch_adam", "fused")
    ),
    Spread("scheduler.type", ("schedule.kind",), _schedule),
    Spread(_PARAMS + "warmup_type", (), _warmup_type),
    Spread(_PARAMS + "warmup_min_lr", ("schedule.args.warmup_min_lr",), _lowest),
    agreed(_PARAMS + "warmup_max_lr", "optimizer.lr", float),
    agreed(_PARAMS + "warmup_num_steps", "schedule.warmup_steps", int),
    Spread(_PARAMS + "total_num_steps", (), _whole_run),
    agreed(_PARAMS + "cos_min_ratio", "schedule.minimum", float),
    agreed(_PARAMS + "warmup_min_ratio", "schedule.args.warmup_min_ratio", float),
    Inert(_PARAMS + "last_batch_iteration", "resuming knows its step"),
    Spread(
        "zero_optimization",
        ("parallel.engine", "parallel.stage"),
        _switched,
    ),
    Spread(_ZERO + "stage", ("parallel.engine", "parallel.stage"), _stage),
    Spread(
        _ZERO + "offload_optimizer.device",
        ("parallel.offload_optimizer",),
        _offload("offload_optimizer", "parallel.offload_optimizer"),
    ),
    Spread(
        _ZERO + "offload_param.device",
        ("parallel.offload_parameters",),
        _offload("offload_param", "parallel.offload_parameters"),
    ),
    Spread(_ZERO + "cpu_offload", ("parallel.offload_optimizer",), _switch("parallel.offload_optimizer")),
    Spread(_ZERO + "cpu_offload_params", ("parallel.offload_parameters",), _switch("parallel.offload_parameters")),
    *(
        Inert(_ZERO + name, "the result is always gathered and saved whole")
        for name in ("stage3_gather_16bit_weights_on_model_save", "stage3_gather_fp16_weights_on_model_save")
    ),
    *kept(
        *(
            f"{_ZERO}offload_optimizer.{name}"
            for name in ("pin_memory", "nvme_path", "buffer_count", "ratio", "fast_init", "pipeline_read")
        ),
        *(
            f"{_ZERO}offload_param.{name}"
            for name in ("pin_memory", "nvme_path", "buffer_count", "buffer_size", "max_in_cpu")
        ),
        *(
            _ZERO + name
            for name in (
                *("allgather_partitions", "allgather_bucket_size", "overlap_comm", "reduce_scatter"),
                *("reduce_bucket_size", "contiguous_gradients", "sub_group_size", "round_robin_gradients"),
                *("stage3_prefetch_bucket_size", "stage3_param_persistence_threshold", "stage3_max_live_parameters"),
                *("stage3_max_reuse_distance", "stage3_model_persistence_threshold", "ignore_unused_parameters"),
                *("zero_hpz_partition_size", "zero_quantized_weights", "zero_quantized_gradients"),
                *("zero_quantized_nontrainable_weights", "mics_shard_size", "mics_hierarchical_params_gather"),
                *("memory_efficient_linear", "elastic_checkpoint", "load_from_fp32_weights"),
            )
        ),
        *("communication_data_type", "prescale_gradients", "gradient_predivide_factor", "sparse_gradients"),
        *("zero_force_ds_cpu_optimizer", "data_types.grad_accum_dtype"),
        *(f"aio.{name}" for name in ("block_size", "queue_depth", "thread_count", "single_submit", "overlap_events")),
    ),
    Inert("activation_checkpointing", "models of transformers do not use DeepSpeed's checkpointing", whole=True),
    Inert("flops_profiler", "the plan counts the operations", whole=True),
    Inert("comms_logger", "DeepSpeed's own log", whole=True),
    Inert("checkpoint", "Luthier writes its own checkpoints", whole=True),
    *(
        _foreign(name, "DeepSpeed's own tracker is not told", "name it in report_to")
        for name in ("tensorboard", "wandb", "csv_monitor", "comet")
    ),
    *(
        _foreign(name, f"DeepSpeed's {name} is not there", "remove it")
        for name in (
            *("amp", "elasticity", "autotuning", "curriculum_learning", "data_efficiency", "compression_training"),
            *("progressive_layer_drop", "eigenvalue", "sparse_attention"),
        )
    ),
    Refused("pipeline", "pipeline stages are not there", "remove it", whole=True),
)
