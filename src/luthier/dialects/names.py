"""What Hugging Face's names for optimisers, schedules, strategies and the like are called here.

A name may come as its value (``paged_adamw_32bit``), as a printed enum member (``OptimizerNames.PAGED_ADAMW``) or in
capitals; all of them mean the value.
"""

from __future__ import annotations

from typing import Any

from luthier.dialects.table import Cannot
from luthier.errors import nearest

OPTIMIZERS = (
    *("adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_torch_xla", "adamw_torch_npu_fused", "adamw_apex_fused"),
    *("adafactor", "adamw_anyprecision", "adamw_torch_4bit", "adamw_torch_8bit", "ademamix", "ademamix_8bit"),
    *("adamw_bnb_8bit", "adamw_8bit", "lion_8bit", "lion_32bit", "paged_adamw_32bit", "paged_adamw_8bit"),
    *("paged_ademamix_32bit", "paged_ademamix_8bit", "paged_lion_32bit", "paged_lion_8bit", "sgd", "adagrad"),
    *("rmsprop", "rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit"),
    *("galore_adamw", "galore_adamw_8bit", "galore_adafactor"),
    *("galore_adamw_layerwise", "galore_adamw_8bit_layerwise", "galore_adafactor_layerwise"),
    *("lomo", "adalomo", "grokadamw", "stable_adamw", "apollo_adamw", "apollo_adamw_layerwise"),
    *("schedule_free_radam", "schedule_free_adamw", "schedule_free_sgd", "adamw"),
)

OPTIMIZER_MEMBERS = {
    "adamw_bnb": "adamw_bnb_8bit",
    "lion": "lion_32bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_ademamix": "paged_ademamix_32bit",
    "paged_lion": "paged_lion_32bit",
    "rmsprop_8bit": "rmsprop_bnb_8bit",
    "rmsprop_32bit": "rmsprop_bnb_32bit",
}
"""Enum members whose name is not their value."""

PLAIN_ADAMW = (
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_hf",
    "adamw_torch_xla",
    "adamw_torch_npu_fused",
    "adamw_apex_fused",
)
"""One arithmetic, several kernels."""

SCHEDULES = (
    *("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"),
    *("reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay", "greedy"),
)

STRATEGIES = ("no", "steps", "epoch", "best")

TRACKERS = {"comet_ml": "comet"}
"""Trackers that have another name here."""

OFF = ("", "false", "0", "no", "off", "none", "null")
WATCHED = ("gradients", "parameters", "all")
UPLOADED = ("checkpoint", "end")
HUB_STRATEGIES = ("end", "every_save", "checkpoint", "all_checkpoints")

LOG_LEVELS = {
    "detail": "debug",
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "critical": "error",
    "passive": "warning",
}
"""passive left the library's own level, which is warning."""


def member(value: Any, known: tuple[str, ...], what: str) -> str:
    """The value of an enum that prints as ``Kind.MEMBER``, ``kind.member`` or ``member``.

    >>> member("IntervalStrategy.STEPS", STRATEGIES, "strategy")
    'steps'

    Raises:
        Cannot: there is no such member.
    """
    if isinstance(value, bool) and not value:
        value = "no"  # YAML 1.1 reads the word no as false
    name = str(value).rsplit(".", 1)[-1].strip().lower()
    if name in known:
        return name
    near = nearest(name[:100], known)
    raise Cannot(
        f"{str(value)[:60]!r} is no {what}", f"did you mean {near}?" if near else f"write one of: {', '.join(known)}"
    )


def optimizer(value: Any) -> str:
    """Our optimiser's name: adamw for every kernel of plain AdamW, else upstream's own name.

    >>> optimizer("OptimizerNames.PAGED_ADAMW"), optimizer("adamw_torch_fused")
    ('paged_adamw_32bit', 'adamw')
    """
    if isinstance(value, str):
        value = value.rsplit(".", 1)[-1].strip().lower()
        value = OPTIMIZER_MEMBERS.get(value, value)
    name = member(value, OPTIMIZERS, "optimiser")
    return "adamw" if name in PLAIN_ADAMW else name


def schedule(value: Any) -> str:
    """A schedule by upstream's name.

    >>> schedule("SchedulerType.REDUCE_ON_PLATEAU")
    'reduce_lr_on_plateau'
    """
    name = str(value).rsplit(".", 1)[-1].strip().lower()
    return member("reduce_lr_on_plateau" if name == "reduce_on_plateau" else value, SCHEDULES, "schedule")


def strategy(value: Any) -> str:
    """When something recurs: no, steps, epoch or best."""
    return member(value, STRATEGIES, "strategy")


def hub_strategy(value: Any) -> str:
    """When the result is uploaded."""
    return member(value, HUB_STRATEGIES, "hub strategy")


def trackers(value: Any) -> list[str]:
    """Trackers by our names; none and all name none.

    >>> trackers(["wandb"]), trackers("none"), trackers("comet_ml")
    (['wandb'], [], ['comet'])
    """
    listed = value if isinstance(value, list | tuple) else [value]
    named = [str(one).strip() for one in listed if one is not None]
    return [TRACKERS.get(one, one) for one in named if one not in ("none", "all", "")]


def watched(value: Any) -> str | None:
    """What W&B watches: ``false`` and nothing name none."""
    word = str(value).strip().lower()
    return None if value is None or word in OFF else member(word, WATCHED, "thing to watch")


def uploaded_weights(value: Any) -> str | None:
    """Which weights go to W&B; ``true`` has long meant the last, ``false`` none.

    >>> uploaded_weights("FALSE"), uploaded_weights(True), uploaded_weights("checkpoint")
    (None, 'end', 'checkpoint')
    """
    word = str(value).strip().lower()
    if value is None or word in OFF:
        return None
    return "end" if word in ("true", "1", "yes", "on") else member(word, UPLOADED, "choice of weights")


def log_level(value: Any) -> str:
    """How much is said, by our four levels."""
    return LOG_LEVELS[member(value, tuple(LOG_LEVELS), "log level")]
