"""A recipe's sharding as the settings that DeepSpeed reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from luthier.recipe import Recipe


def deepspeed_settings(recipe: Recipe) -> dict[str, Any]:
    """What ``deepspeed.initialize`` is told.

    The recipe's own fields win; what a DeepSpeed file says beyond them is handed on. Number types, accumulation and the
    learning rate are the loop's own care, so that all engines compute alike.
    """
    parallel = recipe.parallel
    tree = nested(parallel.deepspeed_config)
    zero = {**tree.pop("zero_optimization", {}), "stage": parallel.stage}
    for part, on in (("offload_optimizer", parallel.offload_optimizer), ("offload_param", parallel.offload_parameters)):
        if on:
            zero[part] = {**zero.get(part, {}), "device": "cpu"}
        else:
            zero.pop(part, None)
    return {
        **{name: value for name, value in tree.items() if name not in ("fp16", "bf16", "optimizer", "scheduler")},
        "train_micro_batch_size_per_gpu": recipe.batch.micro,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": recipe.optimizer.clip or 0.0,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Settings whose names may be written with dots, as the tree that they stand for.

    >>> nested({"zero_optimization.overlap_comm": True, "zero_optimization": {"sub_group_size": 5}, "x": 1})
    {'zero_optimization': {'overlap_comm': True, 'sub_group_size': 5}, 'x': 1}
    """
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *above, last = name.split(".")
        inner = tree
        for part in above:
            inner = inner.setdefault(part, {})
        if isinstance(value, dict) and isinstance(inner.get(last), dict):
            inner[last] = {**inner[last], **nested(value)}
        else:
            inner[last] = nested(value) if isinstance(value, dict) else value
    return tree


def flat(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """A tree's leaves by their dotted names.

    >>> dict(flat({"zero_optimization": {"stage": 3}, "x": 1}))
    {'zero_optimization.stage': 3, 'x': 1}
    """
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{name}.")
        else:
            yield above + name, value
