"""Writes TrainingArguments as JSON: how to train, and nothing about the model, the rows or the adapter."""

from __future__ import annotations

import json
from typing import Any

from luthier.convert.sheet import Keys, Sheet, Writer, neat, one
from luthier.convert.training_arguments_machine import MACHINE
from luthier.recipe import Recipe
from luthier.recipe.schedule import Schedule

ALWAYS = (
    *("output.dir", "optimizer.kind", "optimizer.lr", "schedule.kind", "schedule.warmup_steps", "batch.epochs"),
    *("batch.micro", "batch.accumulation", "precision.compute", "evaluate.every", "checkpoint.every", "track.every"),
    *("track.to", "seed"),
)
"""Said in every file of this family, so that nobody has to know what its silence means."""


DEEPSPEED = {"warmup_lr": "constant", "warmup_decay_lr": "linear", "warmup_cosine_lr": "cosine"}
"""DeepSpeed's schedules -> the nearest curve; a DeepSpeed file beside it says the schedule itself."""


def json_text(tree: dict[str, Any]) -> str:
    """The keys as JSON; what cannot be seen is written as an escape."""
    text = json.dumps(tree, ensure_ascii=False, indent=2)
    return "".join(one if one == "\n" or one.isprintable() else json.dumps(one)[1:-1] for one in text) + "\n"


def share_times(share: float, whole: float) -> float:
    """A number that divided by ``whole`` is ``share`` again, to the last bit where there is one near.

    >>> share_times(0.1, 3e-4) / 3e-4
    0.1
    """
    product = share * whole
    near = (product, product * (1 + 2**-52), product * (1 - 2**-53), product * (1 - 2**-52))
    return next((number for number in near if number / whole == share), product)


def schedule(recipe: Recipe) -> Keys:
    """The curve, its constants and its warm-up, which its name decides on as well."""
    curve = recipe.schedule
    kind, constants = DEEPSPEED.get(curve.kind, curve.kind), dict(curve.args)
    if kind == "constant":
        kind = "constant" if curve.warmup_steps == 0 else "constant_with_warmup"
    if kind == "cosine" and curve.minimum:
        kind = "cosine_with_min_lr"
    if kind == "cosine_with_min_lr":
        constants["min_lr_rate"] = neat(curve.minimum)
    if kind == "polynomial":
        constants |= {"power": neat(curve.power), "lr_end": share_times(curve.minimum, recipe.optimizer.lr)}
    if kind == "reduce_lr_on_plateau" and curve.minimum:
        constants["min_lr"] = share_times(curve.minimum, recipe.optimizer.lr)
    usual = 1.0 if kind == "cosine_with_restarts" else 0.5
    if kind.startswith("cosine") and curve.cycles != usual:
        constants["num_cycles"] = neat(curve.cycles)
    keys: dict[str, Any] = {"lr_scheduler_type": kind}
    if constants:
        keys["lr_scheduler_kwargs"] = constants
    return {**keys, **warm_up(kind, curve)}


def warm_up(kind: str, curve: Schedule) -> Keys:
    """The length of the warm-up of a curve that is written as ``kind``; nothing where that has none."""
    if kind == "constant" or curve.follows_evaluations:
        return {}
    if curve.warmup_steps is not None:
        return {"warmup_steps": curve.warmup_steps}
    return {"warmup_ratio": curve.warmup_share}


def _precision(recipe: Recipe) -> Keys:
    kind = "bf16" if recipe.precision.compute == "auto" else recipe.precision.compute
    keys: dict[str, Any] = {"bf16": False, "fp16": False} if kind == "fp32" else {kind: True}
    if recipe.precision.full_evaluation and kind != "fp32":
        keys[f"{kind}_full_eval"] = True
    return keys


def strategy(prefix: str, every: float | str) -> Keys:
    """When something recurs: ``eval_strategy`` and ``eval_steps``, ``save_strategy`` and ``save_steps``."""
    if isinstance(every, str):
        return {f"{prefix}_strategy": {"never": "no", "epoch": "epoch"}[every]}
    return {f"{prefix}_strategy": "steps", f"{prefix}_steps": every}


def _best(recipe: Recipe) -> Keys:
    evaluate = recipe.evaluate
    if not evaluate.keep_best:
        return {}
    keys = {"metric_for_best_model": evaluate.best_metric, "greater_is_better": evaluate.higher_is_better}
    return {"load_best_model_at_end": True, **keys}


def _resume(how: str) -> Keys:
    return {"never": {"overwrite_output_dir": True}, "auto": {}}.get(how, {"resume_from_checkpoint": how})


def _trackers(names: list[str]) -> list[str]:
    return ["comet_ml" if name == "comet" else name for name in names] or ["none"]


MATHS: tuple[Writer, ...] = (
    one("optimizer.kind", "optim", lambda kind: "adamw_torch" if kind == "adamw" else kind),
    Writer(
        ("optimizer.clip",),
        lambda recipe: {"max_grad_norm": 0 if recipe.optimizer.clip is None else neat(recipe.optimizer.clip)},
    ),
    Writer(("schedule",), schedule),
    Writer(
        ("precision.compute", "precision.full_evaluation"),
        _precision,
        "auto is decided on the device at hand; bf16 is what it comes to on those that are fast in it",
    ),
    one("batch.steps", "max_steps"),
    Writer(
        ("batch.evaluate",),
        lambda recipe: {"per_device_eval_batch_size": recipe.batch.evaluate or recipe.batch.micro},
        "null means batch.micro, which the file says in numbers",
    ),
    Writer(("data.shuffle",), lambda recipe: {} if recipe.data.shuffle else {"train_sampling_strategy": "sequential"}),
)
"""What reaches the weights."""

TIMING: tuple[Writer, ...] = (
    Writer(("evaluate.every",), lambda recipe: strategy("eval", recipe.evaluate.every)),
    Writer(("checkpoint.every",), lambda recipe: strategy("save", recipe.checkpoint.every)),
    Writer(("evaluate.keep_best", "evaluate.best_metric", "evaluate.higher_is_better"), _best),
    Writer(("checkpoint.resume",), lambda recipe: _resume(recipe.checkpoint.resume)),
    one("track.every", "logging_steps"),
    one("track.to", "report_to", _trackers),
    one("track.name", "run_name"),
    one("track.dir", "logging_dir"),
)
"""When something happens, and who is told."""

WRITERS: tuple[Writer, ...] = (*MATHS, *TIMING, *MACHINE)
"""Shared by every dialect that is built on TrainingArguments."""

_OWN = (
    Writer(
        ("batch.world",),
        lambda recipe: {"_n_gpu": recipe.batch.world} if (recipe.batch.world or 1) > 1 else {},
        "nothing in it counts the processes",
    ),
)

TRAINING_ARGUMENTS = Sheet(writers=(*_OWN, *WRITERS), always=ALWAYS, render=json_text, first=("output_dir",))
"""The dialect's writing side."""
