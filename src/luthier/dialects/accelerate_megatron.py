"""The ``megatron_lm_config`` of accelerate's YAML file, and sizes of a mesh that shares out a micro-batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.dialects.deepspeed_rows import SHARED
from luthier.dialects.table import Effect, Inert, Row, Spread, Values, applied, inert, refused, replaced

_MEGATRON = "megatron_lm_config.megatron_lm_"
_NO_MEGATRON = "the model is transformers' own and trains as its config says, not as Megatron's did"


def agreed(target: str, convert: Callable[[Any], Any]) -> Callable[[Any, Values], Effect]:
    """A number that the recipe says as well: auto and none leave it to the recipe."""

    def spread(value: Any, values: Values) -> Effect:
        if value in (None, "auto", "none"):
            return replaced({}, f"auto: {target}, as the recipe says it")
        return applied({target: convert(value)})

    return spread


def _shared(target: str, reason: str) -> Callable[[Any, Values], Effect]:
    """A size above 1 of a mesh whose processes work on one micro-batch together."""

    def spread(value: Any, values: Values) -> Effect:
        if value is None or int(value) <= 1:
            return inert(reason)
        return applied({target: int(value)}, SHARED)

    return spread


sequence = _shared("parallel.context", "1: no sequence is shared out")
layers = _shared("parallel.tensor", "1: no layer is shared out")


def _stages(value: Any, values: Values) -> Effect:
    if value is None or int(value) <= 1:
        return inert("1: the layers stay together")
    return refused("a pipeline of layers is not there", "write 1, and shard with FSDP")


def _micro_batches(value: Any, values: Values) -> Effect:
    if value is None or int(value) <= 1:
        return inert("1: every micro-batch is a step, or gradient_accumulation_steps says how many are")
    return applied({"batch.accumulation": int(value)}, "Megatron's micro-batches of a step")


MEGATRON: tuple[Row, ...] = (
    Inert("megatron_lm_config", "it is empty"),
    Spread(_MEGATRON + "tp_degree", ("parallel.tensor",), layers),
    Spread(_MEGATRON + "context_parallel_size", ("parallel.context",), sequence),
    Spread(_MEGATRON + "pp_degree", (), _stages),
    Spread(_MEGATRON + "num_micro_batches", ("batch.accumulation",), _micro_batches),
    *(
        Inert(_MEGATRON + name, _NO_MEGATRON, (None, False, "false", "False", 0, "0", 0.0), "leave it out")
        for name in ("attention_dropout", "hidden_dropout", "eod_mask_loss")
    ),
    Spread(
        "megatron_lm_config.megatron_lm_gradient_clipping",
        ("optimizer.clip",),
        agreed("optimizer.clip", lambda value: float(value)),
    ),
    *(
        Inert(f"megatron_lm_config.megatron_lm_{name}", "how Megatron spread the model; FSDP takes its place")
        for name in (
            *("sequence_parallelism", "recompute_activations", "use_distributed_optimizer"),
            *("expert_model_parallel_size", "expert_tensor_parallel_size", "use_custom_fsdp"),
            *("recompute_granularity", "recompute_method", "recompute_num_layers", "no_load_optim", "no_save_optim"),
            *("overlap_cpu_optimizer_d2h_h2d", "optimizer_cpu_offload", "use_precision_aware_optimizer"),
            *("decoder_last_pipeline_num_layers", "attention_backend", "attention_softmax_in_fp32"),
            *("calculate_per_token_loss", "use_rotary_position_embeddings"),
        )
    ),
)
