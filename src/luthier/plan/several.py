"""What several processes, or parts of weights that they share out, cannot do."""

from __future__ import annotations

from luthier.environment import processes
from luthier.model.adapter_files import changes_base, starts_as_nothing
from luthier.plan.engine import SHARDED, engine_of
from luthier.plan.instead import installed
from luthier.plan.preferences import reference_of
from luthier.plan.refusal import Row
from luthier.recipe import Recipe

FSDP_KNOWN = (
    *("hybrid", "version", "reshard_after_forward", "auto_wrap_policy", "min_num_params", "use_orig_params"),
    *("backward_prefetch", "backward_prefetch_policy", "forward_prefetch", "limit_all_gathers"),
    *("cpu_ram_efficient_loading", "sync_module_states", "state_dict_type", "final_state_dict_type"),
    *("xla", "xla_fsdp_grad_ckpt", "xla_fsdp_v2", "xla_fsdp_settings"),
)
"""Settings of FSDP that are honoured, or change its speed and files alone, whatever they say."""


def shared_rows(recipe: Recipe) -> tuple[Row, ...]:
    """Every value that is not there yet with the engine that the recipe runs under."""
    parallel, there = recipe.parallel, processes()
    engine = engine_of(recipe, there).name
    sharded = SHARDED.get(engine, ())
    disk = "nvme" in str(parallel.deepspeed_config)
    begun = reference_of(recipe) == "pass" and recipe.method.reference == "auto"
    unread = [name for name in parallel.fsdp_config if name not in FSDP_KNOWN]
    return (
        (
            engine == "deepspeed" and not installed("deepspeed"),
            "parallel.engine",
            "needs DeepSpeed, not installed",
            "pip install 'luthier[deepspeed]', or set parallel.engine: fsdp, which shares out the same",
        ),
        (
            recipe.checkpoint.asynchronous and engine != "single",
            "checkpoint.asynchronous",
            f"under {engine} all processes write a checkpoint together, and wait for one another",
            "leave it at its default",
        ),
        (
            engine == "single" and there > 1,
            "parallel.engine",
            f"single is one process, and {there} were started",
            "set it to auto, or start one",
        ),
        (
            bool(sharded) and recipe.optimizer.kind not in sharded,
            "optimizer.kind",
            f"{recipe.optimizer.kind} does not run on the parts of matrices that {engine} shares out",
            f"use one of: {', '.join(sharded)}; or parallel.engine: ddp",
        ),
        (
            bool(sharded) and recipe.precision.compute == "fp16",
            "precision.compute",
            f"fp16 and its loss scale are not there under {engine}",
            "use bf16 or fp32",
        ),
        (
            engine == "fsdp" and recipe.adapter.kind in ("prefix", "prompt"),
            "adapter.kind",
            "its few numbers lie outside the layers that FSDP shares out",
            "use parallel.engine: ddp",
        ),
        (
            bool(sharded) and recipe.precision.full_evaluation,
            "precision.full_evaluation",
            f"weights that {engine} shares out are not cast for an evaluation",
            "set it to false: the loss differs by rounding alone",
        ),
        (
            bool(sharded) and reference_of(recipe) == "copy",
            "method.reference",
            f"a second whole model is not shared out by {engine}",
            "use method.reference: precomputed, an adapter, or parallel.engine: ddp",
        ),
        (
            bool(sharded) and begun and (changes_base(recipe.adapter) or not starts_as_nothing(recipe.adapter)),
            "method.reference",
            f"an adapter that starts as something or trains biases is its own reference, and {engine} has it in parts",
            "use method.reference: precomputed, or parallel.engine: ddp",
        ),
        (
            engine == "fsdp" and bool(unread),
            "parallel.fsdp_config",
            f"FSDP2 has no {', '.join(unread)}",
            "take it out",
        ),
        (
            engine != "single" and recipe.method.kind == "reward",
            "method.kind",
            f"a reward model goes around the hooks that {engine} adds gradients up by",
            "train it in one process",
        ),
        (
            there > 1 and recipe.batch.find_micro,
            "batch.find_micro",
            "where one process ran out of memory the others would wait for it",
            "set batch.micro yourself",
        ),
        (
            engine == "deepspeed" and disk,
            "parallel.deepspeed_config",
            "offloading to a disk is not there",
            "offload to cpu, or to nothing",
        ),
    )
