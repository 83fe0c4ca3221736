"""Axolotl's keys of evaluation, checkpoints, trackers, the hub and what is left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.dialects import names as hugging_face
from luthier.dialects.axolotl.values import flag, instead, named, number, part, text, truth, whole
from luthier.dialects.table import (
    Cannot,
    Default,
    Effect,
    Gather,
    Inert,
    Key,
    Refused,
    Row,
    Spread,
    Values,
    applied,
    inert,
    replaced,
)

_TRACKERS = {
    "wandb": ("use_wandb", "wandb_project"),
    "mlflow": ("use_mlflow", "mlflow_tracking_uri", "mlflow_experiment_name"),
    "comet": ("use_comet", "comet_project_name"),
    "trackio": ("use_trackio", "trackio_project_name"),
    "swanlab": ("use_swanlab", "swanlab_project"),
    "tensorboard": ("use_tensorboard",),
}
_PROJECTS = ("wandb_project", "mlflow_experiment_name", "comet_project_name", "trackio_project_name", "swanlab_project")


def _recurs(per_epoch: str, steps: str, strategies: tuple[str, ...]) -> Callable[[Values], int | float | str]:
    """When something recurs, out of the three ways to say it."""

    def every(values: Values) -> int | float | str:
        times, asked = whole(values.get(per_epoch) or 0), values.get(steps)
        word = next((values[key] for key in strategies if values.get(key) is not None), None)
        named = None if word is None else hugging_face.strategy(word)
        if times and asked:
            raise Cannot(f"{per_epoch} and {steps} say when it recurs", "keep one of them")
        if named == "best":
            return _recurs(*_EVALUATIONS)(values) if per_epoch == "saves_per_epoch" else "epoch"
        if named == "no":
            return "never"
        if named == "epoch" and not (times or asked):
            return "epoch"
        if asked:
            return part(asked)
        share = 1 / (times * (number(values.get("num_epochs") or 1) or 1)) if times else 1.0
        return share if share < 1 else "epoch"

    return every


_EVALUATIONS = ("evals_per_epoch", "eval_steps", ("eval_strategy", "evaluation_strategy"))
_SAVES = ("saves_per_epoch", "save_steps", ("save_strategy",))


def _evaluating(values: Values) -> Effect:
    every = _recurs(*_EVALUATIONS)(values)
    return applied({"evaluate.every": every, "evaluate.at_start": every != "never"}, "and once before the first step")


def _saving(values: Values) -> Effect:
    every = _recurs(*_SAVES)(values)
    if str(values.get("save_strategy")).lower() == "best":
        return replaced({"checkpoint.every": every}, "at each evaluation; load_best_model_at_end ends with the best")
    return applied({"checkpoint.every": every}, "and once at the end" + (_LAST if every == "epoch" else ""))


_LAST = "; once an epoch is its end, also in a run of one epoch"


def _table(value: Any, values: Values) -> Effect:
    if not value:
        return inert("no answers are shown")
    return replaced(
        {"evaluate.table_rows": whole(value)}, "answers are generated where data.test and evaluate.generate are set"
    )


def _patience(value: Any, values: Values) -> Effect:
    return applied({"evaluate.patience": whole(value)}) if value else inert("it asks for nothing")


def _metric(value: Any, values: Values) -> Effect:
    """It grows unless it is a loss, where ``greater_is_better`` does not say."""
    settings: dict[str, Any] = {"evaluate.best_metric": text(value).removeprefix("eval_")}
    if values.get("greater_is_better") is None:
        settings["evaluate.higher_is_better"] = not text(value).endswith("loss")
    return applied(settings)


def _resume(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: auto_resume_from_checkpoints says it, or Luthier's own default")
    if isinstance(value, bool):
        return applied({"checkpoint.resume": "auto" if value else "never"})
    return applied({"checkpoint.resume": text(value)})


def _resume_auto(value: Any, values: Values) -> Effect:
    if value is None or values.get("resume_from_checkpoint") is not None:
        return inert("resume_from_checkpoint says it")
    return applied({"checkpoint.resume": "auto" if flag(value) else "never"})


def _tracking(values: Values) -> Effect:
    told = [
        tracker
        for tracker, (switch, *keys) in _TRACKERS.items()
        if truth(values.get(switch)) or (values.get(switch) is not False and any(values.get(key) for key in keys))
    ]
    projects = {text(values[key]) for key in _PROJECTS if values.get(key)}
    if len(projects) > 1:
        raise Cannot("the trackers' projects have one name here", "give them the same one")
    made: dict[str, Any] = {"track.to": told}
    if values.get("mlflow_tracking_uri"):
        made["track.options.mlflow_tracking_uri"] = text(values["mlflow_tracking_uri"])
    return applied(made | ({"track.project": projects.pop()} if projects else {}))


def _option(name: str, option: str) -> Key:
    return Key(name, f"track.options.{option}", text)


def _log_model(value: Any, values: Values) -> Effect:
    wanted = hugging_face.uploaded_weights(value)
    return inert("it asks for nothing") if wanted is None else applied({"track.log_model": wanted})


def _hub(value: Any, values: Values) -> Effect:
    if not value:
        return inert("null: nothing is uploaded")
    found = named("output.hub.repository")(value, values)
    made = {**found.settings, "output.hub.push": True, "output.hub.private": True, "output.hub.always": True}
    return Effect(found.outcome, made, found.note or "uploaded to a private repository, as there")


def _hub_strategy(value: Any) -> str:
    return hugging_face.hub_strategy(value)


def _shown_every(value: Any) -> int | float:
    return part(value)


_ELSEWHERE = "write data.test and evaluate.generate in a recipe of Luthier's own"
_WATCHDOG = "Luthier skips a step whose loss is not finite and says so; a loss that is only high does not stop the run"
_SWANLAB = ("log_completions", "completion_log_interval", "completion_max_buffer", "log_model")
_GRADIO = ("title", "share", "server_name", "server_port", "max_new_tokens", "temperature")
_CLOUD_KEYS = (
    *("secrets", "volumes", "branch", "dockerfile_commands", "timeout", "memory_preprocess", "timeout_preprocess"),
    "project_name",
)
_CLOUD = "it says how a cloud starts the run, and the run has started"

RECORD: tuple[Row, ...] = (
    *(Gather(name, ("evaluate.every", "evaluate.at_start"), _evaluating) for name in ("evals_per_epoch", "eval_steps")),
    Gather("eval_strategy", ("evaluate.every", "evaluate.at_start"), _evaluating, old=("evaluation_strategy",)),
    Spread("eval_table_size", ("evaluate.table_rows",), _table),
    Key(
        "eval_max_new_tokens",
        "evaluate.generation.max_new_tokens",
        whole,
        old=("generation_max_new_tokens", "eval_table_max_new_tokens"),
    ),
    Key("generation_temperature", "evaluate.generation.temperature", number),
    Key("generation_top_p", "evaluate.generation.top_p", number),
    Key("generation_top_k", "evaluate.generation.top_k", whole),
    Spread("early_stopping_patience", ("evaluate.patience",), _patience),
    Key("load_best_model_at_end", "evaluate.keep_best", flag),
    Spread("metric_for_best_model", ("evaluate.best_metric", "evaluate.higher_is_better"), _metric),
    Key("greater_is_better", "evaluate.higher_is_better", flag),
    Spread("generate_samples", (), instead(f"answers are shown where there are questions: {_ELSEWHERE}")),
    Inert("num_generation_samples", "it belongs to generate_samples"),
    Inert("generation_prompt_ratio", "it belongs to generate_samples"),
    Inert("generation_do_sample", "it belongs to generate_samples; a temperature of 0 takes the likeliest token"),
    Refused("do_causal_lm_eval", "it needs questions to answer", _ELSEWHERE),
    Inert("eval_causal_lm_metrics", "it belongs to do_causal_lm_eval"),
    Refused("do_bench_eval", "benchmarks are not there", "run them on the result"),
    Inert("bench_dataset", "it belongs to do_bench_eval"),
    Inert("bench_split", "it belongs to do_bench_eval"),
    *(Gather(name, ("checkpoint.every",), _saving) for name in ("saves_per_epoch", "save_steps", "save_strategy")),
    Key("save_total_limit", "checkpoint.keep_last", lambda value: whole(value) or 4),
    Key("save_only_model", "checkpoint.weights_only", flag),
    Inert("save_first_step", "an early checkpoint only showed that saving works", (None, False, True)),
    Inert("save_safetensors", "weights are always saved as safetensors", (None, True), "leave it out"),
    Spread("resume_from_checkpoint", ("checkpoint.resume",), _resume),
    Spread("auto_resume_from_checkpoints", ("checkpoint.resume",), _resume_auto),
    Inert("dynamic_checkpoint", "a run that is told to stop saves a whole checkpoint first", whole=True),
    *(Gather(switch, ("track.to",), _tracking) for switch, *_ in _TRACKERS.values()),
    *(Gather(name, ("track.to", "track.project"), _tracking) for name in _PROJECTS),
    Gather("mlflow_tracking_uri", ("track.to", "track.options.mlflow_tracking_uri"), _tracking),
    Key("wandb_entity", "track.entity", text),
    Key("comet_workspace", "track.entity", text),
    Key("swanlab_workspace", "track.entity", text),
    Key("wandb_name", "track.name", text),
    *(Key(name, "track.name", text) for name in ("mlflow_run_name", "trackio_run_name", "swanlab_experiment_name")),
    Key("wandb_run_id", "track.run_id", text),
    Key("comet_experiment_key", "track.run_id", text),
    Key("wandb_watch", "track.watch", hugging_face.watched),
    Spread("wandb_log_model", ("track.log_model",), _log_model),
    _option("wandb_mode", "mode"),
    _option("comet_mode", "mode"),
    _option("swanlab_mode", "mode"),
    _option("swanlab_description", "description"),
    _option("trackio_space_id", "trackio_space_id"),
    Key("hf_mlflow_log_artifacts", "track.options.log_artifacts", flag),
    Key("comet_online", "track.options.online", flag),
    Key("comet_experiment_config", "track.options.experiment", whole=True),
    *(
        Inert(
            f"{name}_api_key", f"a secret is never taken from a recipe; put {name.upper()}_API_KEY into the environment"
        )
        for name in ("comet", "wandb", "swanlab")
    ),
    Spread("use_otel_metrics", (), instead("OpenTelemetry is not told; the run's own record has the numbers")),
    Inert("otel_metrics_host", "it belongs to use_otel_metrics"),
    Inert("otel_metrics_port", "it belongs to use_otel_metrics"),
    *(Inert(f"swanlab_{name}", "answers are shown in the run's own report") for name in _SWANLAB),
    Key("logging_steps", "track.every", _shown_every),
    Inert("include_tokens_per_second", "the run's own record always has its speed"),
    Inert("include_tkps", "the run's own record always has its speed"),
    Spread("profiler_steps", (), instead("memory is measured at every step, not profiled")),
    Inert("profiler_steps_start", "it belongs to profiler_steps"),
    Spread("loss_watchdog_threshold", (), instead(_WATCHDOG)),
    Inert("loss_watchdog_patience", "it belongs to loss_watchdog_threshold"),
    Inert("debug", "it printed rows as tokens; `luthier show FILE ROW` does"),
    Key("output_dir", "output.dir", text),
    Spread(
        "hub_model_id", ("output.hub.push", "output.hub.repository", "output.hub.private", "output.hub.always"), _hub
    ),
    Key("hub_strategy", "output.hub.strategy", _hub_strategy),
    Key("hub_revision", "output.hub.revision", text),
    *(Inert(f"gradio_{name}", "a page to talk to the result on has no part in training") for name in _GRADIO),
    *(Inert(name, _CLOUD, whole=True) for name in _CLOUD_KEYS),
    Inert("axolotl_config_path", "Axolotl fills it in itself"),
    Inert("full_finetune", "adapter says it"),
    Inert("test_value", "no key of Axolotl, which passes over it"),
    Inert("context_parapllel_size", "no key of Axolotl, which passes over it; it is context_parallel_size"),
)


def _evaluates(values: Values) -> bool:
    return not any(values.get(key) is not None for key in ("eval_strategy", "evaluation_strategy"))


DEFAULTS: tuple[Default, ...] = (
    Default("eval_strategy", "epoch", {"evaluate.every": "epoch"}, when=_evaluates),
    Default("eval_on_start", True, {"evaluate.at_start": True}, "Axolotl evaluates before the first step"),
    Default("save_strategy", "epoch", {"checkpoint.every": "epoch"}),
    Default("save_total_limit", 4, {"checkpoint.keep_last": 4}),
    Default(
        "logging_steps",
        None,
        {"track.every": 0.005},
        "every 0.5 % of the steps; Axolotl kept it between 1 and 10 steps",
    ),
    Default("output_dir", "./model-out", {"output.dir": "./model-out"}),
    Default(
        "hub_strategy",
        "every_save",
        {"output.hub.strategy": "every_save"},
        when=lambda values: bool(values.get("hub_model_id")),
    ),
)
