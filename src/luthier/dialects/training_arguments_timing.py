"""TrainingArguments that say when something happens: evaluating, saving, logging, reporting, uploading."""

from __future__ import annotations

import re
from typing import Any

from luthier.dialects import names
from luthier.dialects.plain_values import flag, number, text, whole
from luthier.dialects.table import Cannot, Effect, Key, Row, Spread, Values, applied, inert, replaced
from luthier.recipe.schedule import FOLLOWING

STEPS = 500
"""Upstream's interval for logging, saving and evaluating."""

_MACHINE_PATH = re.compile(r"(^|/)runs/[A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d_")


def interval(value: Any) -> int | float:
    """A number of steps, or a share of the run below 1."""
    found = number(value)
    return found if 0 < found < 1 else whole(value)


def _or(value: Any, instead: Any) -> Any:
    return instead if value is None else value


def evaluation(value: Any, values: Values) -> Effect:
    """``eval_strategy``: never, each epoch, or every ``eval_steps``, which fall back on ``logging_steps``."""
    strategy = names.strategy(_or(value, "no"))
    if strategy == "best":
        raise Cannot("evaluation cannot wait for the best checkpoint", "write no, steps or epoch")
    if strategy == "steps":
        every = interval(values.get("eval_steps") or values.get("logging_steps") or STEPS)
        return applied({"evaluate.every": every}, "recent versions evaluated after the last step as well")
    return applied({"evaluate.every": {"no": "never", "epoch": "epoch"}[strategy]})


def _evaluation_strategy(values: Values) -> str:
    for key in ("eval_strategy", "evaluation_strategy"):
        if values.get(key) is not None:
            return names.strategy(values[key])
    return "steps" if values.get("evaluate_during_training") else "no"


def evaluation_steps(value: Any, values: Values) -> Effect:
    """``eval_steps``: only the strategy steps asks for them."""
    strategy = _evaluation_strategy(values)
    if strategy != "steps":
        return inert(f"the evaluation strategy is {strategy}")
    if not value:
        return inert("logging_steps say when to evaluate")
    return applied({"evaluate.every": interval(value)})


def during_training(value: Any, values: Values) -> Effect:
    """``evaluate_during_training``, before there were strategies."""
    return evaluation("steps", values) if flag(_or(value, False)) else inert("off")


def saving(value: Any, values: Values) -> Effect:
    """``save_strategy``."""
    strategy = names.strategy(_or(value, "steps"))
    if strategy == "best":
        evaluated = _evaluation_strategy(values)
        every = evaluation(evaluated, values).settings["evaluate.every"]
        return replaced({"checkpoint.every": every}, "at each evaluation; load_best_model_at_end ends with the best")
    if strategy == "steps":
        return _save_every(_or(values.get("save_steps"), STEPS))
    return applied({"checkpoint.every": {"no": "never", "epoch": "epoch"}[strategy]})


def saving_steps(value: Any, values: Values) -> Effect:
    """``save_steps``: only the strategy steps asks for them."""
    strategy = names.strategy(_or(values.get("save_strategy"), "steps"))
    if strategy != "steps":
        return inert(f"the save strategy is {strategy}")
    return _save_every(_or(value, STEPS))


def _save_every(steps: Any) -> Effect:
    every = interval(steps)
    if every <= 0:
        return applied(
            {"checkpoint.every": "never"},
            "0: no checkpoint on the way, only the result at the end (which transformers to 4.40 left to the script)",
        )
    return applied({"checkpoint.every": every})


def keep_last(value: Any) -> int | None:
    """``save_total_limit``; 0 and below kept all."""
    return whole(value) if whole(value) > 0 else None


def overwriting(value: Any, values: Values) -> Effect:
    """``overwrite_output_dir``: the example scripts then did not go on from a checkpoint found there."""
    if not flag(_or(value, False)):
        return inert("a run goes on from its own checkpoints and overwrites no other")
    if values.get("resume_from_checkpoint"):
        return inert("resume_from_checkpoint wins")
    return applied({"checkpoint.resume": "never"}, "the run starts anew instead of going on from a checkpoint there")


def resuming(value: Any, values: Values) -> Effect:
    """``resume_from_checkpoint``: a path, or true for the newest."""
    if value is None or value is False or value == "":
        return inert("no checkpoint is named")
    return applied({"checkpoint.resume": "auto" if str(value).lower() == "true" else text(value)})


def logging(value: Any, values: Values) -> Effect:
    """``logging_strategy``."""
    strategy = names.strategy(_or(value, "steps"))
    if strategy == "steps":
        return _log_every(_or(values.get("logging_steps"), STEPS))
    return replaced({"track.every": 1}, f"{strategy}: the run keeps a record of every step, and the report sums it up")


def logging_steps(value: Any, values: Values) -> Effect:
    """``logging_steps``."""
    strategy = names.strategy(_or(values.get("logging_strategy"), "steps"))
    return _log_every(_or(value, STEPS)) if strategy == "steps" else inert(f"the logging strategy is {strategy}")


def _log_every(steps: Any) -> Effect:
    every = interval(steps)
    if every <= 0:
        return replaced({"track.every": 1}, "0 meant nothing; the run keeps a record of every step")
    return applied({"track.every": every})


def reporting(value: Any, values: Values) -> Effect:
    """``report_to``."""
    listed = value if isinstance(value, list) else [value]
    if value is None or "all" in listed:
        return replaced({"track.to": []}, "it meant every tracker installed on that machine; name the ones you want")
    return applied({"track.to": names.trackers(value)})


def run_name(value: Any, values: Values) -> Effect:
    """``run_name``, which the Trainer filled with output_dir when nobody named the run."""
    if value in (None, "") or value == values.get("output_dir"):
        return inert("it repeats output_dir, after which a run is named anyway")
    return applied({"track.name": text(value)})


def logging_dir(value: Any, values: Values) -> Effect:
    """``logging_dir``, unless the Trainer made it up from the date and the machine's name."""
    if value in (None, ""):
        return inert("not set")
    if _MACHINE_PATH.search(str(value)):
        return replaced({}, "made up from a date and a machine's name; tracker files lie below the run's own folder")
    return applied({"track.dir": text(value)})


def hub_repository(value: Any, values: Values) -> Effect:
    """``push_to_hub_model_id`` and ``push_to_hub_organization``, which only together name a repository."""
    if value in (None, ""):
        return inert("not set")
    model, owner = values.get("push_to_hub_model_id"), values.get("push_to_hub_organization")
    if not model:
        raise Cannot("an organisation alone names no repository", "write hub_model_id: owner/name")
    return applied({"output.hub.repository": f"{owner}/{model}" if owner else text(model)})


def _goes_by_metric(values: Values) -> bool:
    """Whether anything goes by the best metric: the model that is kept, what is saved, or the schedule."""
    said = [str(values.get(key)).rsplit(".", 1)[-1].lower() for key in ("save_strategy", "lr_scheduler_type")]
    return (
        bool(values.get("load_best_model_at_end")) or said[0] == "best" or said[1] in (*FOLLOWING, "reduce_on_plateau")
    )


def best_metric(value: Any, values: Values) -> Effect:
    """``metric_for_best_model``: it grows unless it is a loss."""
    if value in (None, ""):
        return inert("not set: the loss")
    if not _goes_by_metric(values):
        return inert("nothing goes by it: load_best_model_at_end is off")
    settings: dict[str, Any] = {"evaluate.best_metric": text(value).removeprefix("eval_")}
    if values.get("greater_is_better") is None:
        settings["evaluate.higher_is_better"] = not text(value).endswith("loss")
    return applied(settings)


def higher_is_better(value: Any, values: Values) -> Effect:
    """``greater_is_better``."""
    if value is None:
        return inert("not set: it follows from the metric")
    if not _goes_by_metric(values):
        return inert("nothing goes by it: load_best_model_at_end is off")
    return applied({"evaluate.higher_is_better": flag(value)})


TIMING: tuple[Row, ...] = (
    Spread(
        "eval_strategy",
        ("evaluate.every",),
        evaluation,
        old=("evaluation_strategy",),
        note="called evaluation_strategy until transformers 4.40",
    ),
    Spread("eval_steps", ("evaluate.every",), evaluation_steps),
    Spread("evaluate_during_training", ("evaluate.every",), during_training),
    Key("eval_delay", "evaluate.delay", number),
    Key("eval_on_start", "evaluate.at_start", flag),
    Key("load_best_model_at_end", "evaluate.keep_best", flag),
    Spread("metric_for_best_model", ("evaluate.best_metric", "evaluate.higher_is_better"), best_metric),
    Spread("greater_is_better", ("evaluate.higher_is_better",), higher_is_better),
    Spread("save_strategy", ("checkpoint.every",), saving),
    Spread(
        "save_steps",
        ("checkpoint.every",),
        saving_steps,
        note="steps and shares mean the same here; a checkpoint is whole or it is not there",
    ),
    Key("save_total_limit", "checkpoint.keep_last", keep_last),
    Key("save_only_model", "checkpoint.weights_only", flag),
    Spread("overwrite_output_dir", ("checkpoint.resume",), overwriting),
    Spread(
        "resume_from_checkpoint",
        ("checkpoint.resume",),
        resuming,
        note="the Trainer left it to the script to act on it; here it always counts",
    ),
    Spread("logging_strategy", ("track.every",), logging),
    Spread("logging_steps", ("track.every",), logging_steps),
    Key("logging_first_step", "track.first_step", flag),
    Key(
        "logging_nan_inf_filter",
        "track.hide_nonfinite",
        flag,
        note="in the log NaN became the running mean, and recent versions also left losses that are not finite out of "
        "the mean of an evaluation; the run's own record and its evaluations always show NaN",
    ),
    Spread("logging_dir", ("track.dir",), logging_dir),
    Spread("report_to", ("track.to",), reporting),
    Spread("run_name", ("track.name",), run_name),
    Key("project", "track.project", text),
    Key("trackio_space_id", "track.options.trackio_space_id", text),
    Key("trackio_bucket_id", "track.options.trackio_bucket_id", text),
    Key("trackio_static_space_id", "track.options.trackio_static_space_id"),
    Key("output_dir", "output.dir", text),
    Key("push_to_hub", "output.hub.push", flag),
    Key("hub_model_id", "output.hub.repository", text),
    Spread("push_to_hub_model_id", ("output.hub.repository",), hub_repository),
    Spread("push_to_hub_organization", ("output.hub.repository",), hub_repository),
    Key("hub_strategy", "output.hub.strategy", names.hub_strategy),
    Key("hub_private_repo", "output.hub.private", flag),
    Key("hub_always_push", "output.hub.always", flag),
    Key("hub_revision", "output.hub.revision", text),
)
