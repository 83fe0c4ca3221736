"""The keys of DeepSpeed's JSON file; "auto" in it means what the recipe says."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from luthier.dialects.companion import found
from luthier.dialects.deepspeed_agreed import agreed, auto, first
from luthier.dialects.deepspeed_kept import ENGINES_OWN, KEPT, keep
from luthier.dialects.deepspeed_schedule import SCHEDULE, default_peak
from luthier.dialects.table import (
    Cannot,
    Effect,
    Inert,
    Row,
    Spread,
    Values,
    applied,
    inert,
    refused,
    replaced,
)

_ZERO = "zero_optimization."

OPTIMIZERS = {
    "adam": "adamw",
    "adamw": "adamw",
    "sgd": "sgd",
    "lion": "lion_32bit",
    "adagrad": "adagrad",
    "lamb": "lamb",
}

MICRO = ("per_device_train_batch_size", "micro_batch_size")
"""What a micro-batch is called in the files that name a DeepSpeed file."""


def _micro(value: Any, values: Values) -> Effect:
    if value is None or value == "auto":
        return auto("batch.micro")
    if str(value) == str(first(values, *MICRO)):
        return replaced({}, "the recipe says the same")
    return applied({"batch.micro": int(value)})


def _train_batch(value: Any, values: Values) -> Effect:
    if value is None or value == "auto":
        return replaced({}, "auto: batch.micro x batch.accumulation x processes, as the recipe says them")
    micro = first(values, "train_micro_batch_size_per_gpu", *MICRO)
    accumulation = first(values, "gradient_accumulation_steps")
    if micro is None or accumulation is None:
        raise Cannot("it says only the product of three numbers", "say micro-batch and accumulation too")
    each = prod((int(micro), int(accumulation)))
    if not each or int(value) % each:
        raise Cannot(f"{value} is no multiple of {micro} x {accumulation}", "make it micro x accumulation x processes")
    return applied({"batch.world": int(value) // each}, "micro-batch x accumulation x processes")


def _half(kind: str) -> Callable[[Any, Values], Effect]:
    def spread(value: Any, values: Values) -> Effect:
        if value is None or value == "auto":
            return auto("precision.compute")
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
            return keep(name, value)
        return inert("nothing computes in fp16, so no loss is scaled")

    return Spread(name, (KEPT + name,), spread)


def _optimizer(value: Any, values: Values) -> Effect:
    kind = OPTIMIZERS.get(str(value).lower())
    if kind is None:
        raise Cannot(f"DeepSpeed's optimiser {value!r} is not there", f"use one of: {', '.join(OPTIMIZERS)}")
    if found(values, "optimizer.params.adam_w_mode") is False and str(value).lower() == "adam":
        raise Cannot("Adam with an L2 term in the loss is not there", "remove adam_w_mode: weight decay is decoupled")
    return applied({"optimizer.kind": kind}, "it replaces the recipe's own optimiser")


def _decoupled(value: Any, values: Values) -> Effect:
    kind = str(found(values, "optimizer.type")).lower()
    if value in (None, True):
        return inert("weight decay is decoupled")
    if kind == "adamw":
        return inert("AdamW's weight decay is decoupled, whatever it says; only Adam goes by it")
    return inert("it belongs to Adam") if kind != "adam" else refused("weight decay is decoupled", "remove it")


_DECAYED = "DeepSpeed's optimiser has one group of weights: upstream biases and norms decayed too, here they are spared"


def _decay(value: Any, values: Values) -> Effect:
    if value is None or value == "auto":
        return replaced({}, "auto: optimizer.weight_decay, as the recipe says it. " + _DECAYED)
    return applied({"optimizer.weight_decay": float(value)}, _DECAYED if float(value) else "")


def _rate(value: Any, values: Values) -> Effect:
    if value is None or value == "auto":
        return auto("optimizer.lr")
    if default_peak(values):
        return replaced({}, "the schedule has no warmup_max_lr, and its own peak of 0.001 wins, here as upstream")
    return applied({"optimizer.lr": float(value)})


def _betas(value: Any, values: Values) -> Effect:
    if value is None or value == "auto":
        return auto("optimizer.beta1 and optimizer.beta2")
    first, second = value
    return applied({"optimizer.beta1": float(first), "optimizer.beta2": float(second)})


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


SHARED = "its processes share a micro-batch, so that a step has fewer of them"


def _tensor(value: Any, values: Values) -> Effect:
    size = int(value.get("autotp_size") or 1) if isinstance(value, dict) else 1
    return applied({"parallel.tensor": size}, SHARED) if size > 1 else inert("1: no layer is shared out")


def _context(value: Any, values: Values) -> Effect:
    if value is None or int(value) <= 1:
        return inert("1: no sequence is shared out")
    return applied({"parallel.context": int(value)}, SHARED)


def _foreign(name: str, reason: str, remedy: str) -> Row:
    """A block that is refused when it is switched on."""

    def spread(value: Any, values: Values) -> Effect:
        on = value.get("enabled", True) if isinstance(value, dict) else value
        return refused(reason, remedy) if on else inert("switched off")

    return Spread(name, (), spread, whole=True)


DEEPSPEED_ROWS: tuple[Row, ...] = (
    Spread("train_micro_batch_size_per_gpu", ("batch.micro",), _micro),
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
    Spread("optimizer.params.lr", ("optimizer.lr",), _rate),
    Spread("optimizer.params.betas", ("optimizer.beta1", "optimizer.beta2"), _betas),
    agreed("optimizer.params.eps", "optimizer.epsilon", float),
    Spread("optimizer.params.weight_decay", ("optimizer.weight_decay",), _decay),
    Spread("optimizer.params.adam_w_mode", (), _decoupled),
    Inert("optimizer.params.bias_correction", "Adam's means are corrected", only=(True,), remedy="remove it"),
    *(
        Inert(f"optimizer.params.{name}", "which kernel computes it changes no result")
        for name in ("torch_adam", "fused")
    ),
    *SCHEDULE,
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
    *ENGINES_OWN,
    Inert("activation_checkpointing", "models of transformers do not use DeepSpeed's checkpointing", whole=True),
    Inert("flops_profiler", "the plan counts the operations", whole=True),
    Inert("comms_logger", "DeepSpeed's own log", whole=True),
    Inert("checkpoint", "Luthier writes its own checkpoints", whole=True),
    *(
        Inert(name, "DeepSpeed's own tracker is not told; the recipe's trackers are, which report_to names", whole=True)
        for name in ("tensorboard", "wandb", "csv_monitor", "comet", "monitor_config")
    ),
    *(
        Inert(name, "it changes speed or memory, not the result; the engine decides", whole=True)
        for name in (
            *("pipeline", "autotuning", "compile", "hybrid_engine", "nebula", "timers", "moe"),
            *("data_parallel_size", "disable_allgather", "graph_harvesting"),
            *("checkpoint_parallel_write_pipeline", "use_data_before_expert_parallel_"),
        )
    ),
    Spread("tensor_parallel", ("parallel.tensor",), _tensor, whole=True),
    Spread("sequence_parallel_size", ("parallel.context",), _context),
    Inert("dataloader_drop_last", "DeepSpeed's own loader deals out no batches here"),
    Inert("bf16.immediate_grad_update", "when gradients are added up changes nothing"),
    Inert("bf16.check_grad_overflow", "a step whose gradient is not finite is always skipped, and said"),
    Inert("fp16.fp16_master_weights_and_grads", "full-precision copies are kept", (None, False), "write false"),
    *(
        _foreign(name, f"DeepSpeed's {name} is not there", "remove it")
        for name in (
            *("amp", "elasticity", "curriculum_learning", "data_efficiency", "compression_training"),
            *("progressive_layer_drop", "eigenvalue", "sparse_attention"),
        )
    ),
    *(
        _foreign(name, "it delays updates of the weights, which changes the result", "remove it")
        for name in ("zenflow", _ZERO + "zenflow")
    ),
)
