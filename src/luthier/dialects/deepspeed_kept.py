"""DeepSpeed's keys that only its engine reads: buckets, buffers, offloading, its own checks; handed on as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from luthier.dialects.table import Effect, Row, Spread, Values, applied, inert

KEPT = "parallel.deepspeed_config."

_ZERO = "zero_optimization."


def kept(*names: str) -> Iterator[Row]:
    """Settings of the engine's own, handed on as they are."""
    for name in names:
        yield Spread(name, (KEPT + name,), _keeper(name))


def _keeper(name: str) -> Callable[[Any, Values], Effect]:
    return lambda value, values: keep(name, value)


def keep(name: str, value: Any) -> Effect:
    """A setting as it is written; ``auto`` leaves it to the engine."""
    if value is None or value == "auto":
        return inert("auto: the engine's own choice")
    return applied({KEPT + name: value}, "handed on to DeepSpeed")


ENGINES_OWN: tuple[Row, ...] = (
    *kept(
        *(
            f"{_ZERO}offload_optimizer.{name}"
            for name in (
                "pin_memory",
                "nvme_path",
                "buffer_count",
                "ratio",
                "fast_init",
                "pipeline_read",
                "pipeline_write",
            )
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
                *("memory_efficient_linear", "elastic_checkpoint", "load_from_fp32_weights", "legacy_stage1"),
                *("use_multi_rank_bucket_allreduce", "use_all_reduce_for_fetch_params", "module_granularity_threshold"),
                *("prefetch_bucket_size", "param_persistence_threshold", "model_persistence_threshold"),
                *("max_live_parameters", "max_reuse_distance", "gather_16bit_weights_on_model_save"),
                *("override_module_apply", "log_trace_cache_warnings", "enable_sanity_checks", "leaf_module"),
                *("pipeline_loading_checkpoint", "allgather_sequential", "zeropp_loco_param"),
            )
        ),
        *(
            "communication_data_type",
            "seq_parallel_communication_data_type",
            "prescale_gradients",
            "gradient_predivide_factor",
            "sparse_gradients",
        ),
        *("zero_force_ds_cpu_optimizer", "data_types.grad_accum_dtype"),
        *(f"aio.{name}" for name in ("block_size", "queue_depth", "thread_count", "single_submit", "overlap_events")),
    ),
)
