"""How Axolotl says when to evaluate and save, which trackers to tell, and where to upload."""

from __future__ import annotations

from typing import Any

from luthier.convert.sheet import Keys, Writer, one
from luthier.recipe import Recipe

_PROJECTS = {
    "wandb": "wandb_project", "mlflow": "mlflow_experiment_name", "comet": "comet_project_name",
    "trackio": "trackio_project_name", "swanlab": "swanlab_project",
}  # fmt: skip
_TRACKERS = (*_PROJECTS, "tensorboard")
_KEYS = {
    "entity": {"wandb": "wandb_entity", "comet": "comet_workspace", "swanlab": "swanlab_workspace"},
    "name": {
        "wandb": "wandb_name", "mlflow": "mlflow_run_name", "trackio": "trackio_run_name",
        "swanlab": "swanlab_experiment_name",
    },
    "run_id": {"wandb": "wandb_run_id", "comet": "comet_experiment_key"},
}  # fmt: skip
"""Setting of ``track`` -> tracker -> its key."""


def _recurs(prefix: str, every: float | str) -> Keys:
    if isinstance(every, str):
        return {f"{prefix}_strategy": {"never": "no", "epoch": "epoch"}[every]}
    return {f"{prefix}_steps": every}


def _tracker(recipe: Recipe) -> str:
    """The tracker after which the keys of project, name and the like are called."""
    return next((name for name in recipe.track.to if name in _PROJECTS), "wandb")


def _tracking(recipe: Recipe) -> Keys:
    told, first = recipe.track.to, _tracker(recipe)
    keys: dict[str, Any] = {f"use_{name}": True for name in told if name in _TRACKERS}
    if recipe.track.project is not None:
        keys[_PROJECTS[first]] = recipe.track.project
        keys.setdefault(f"use_{first}", False)
    return keys


def _named(field: str) -> Writer:
    def write(recipe: Recipe) -> Keys:
        value, keys = getattr(recipe.track, field), _KEYS[field]
        return {} if value is None else {keys.get(_tracker(recipe), keys["wandb"]): value}

    return Writer((f"track.{field}",), write)


def _resume(how: str) -> Keys:
    known = {"auto": True, "never": False}
    return {"auto_resume_from_checkpoints": known[how]} if how in known else {"resume_from_checkpoint": how}


def _hub(recipe: Recipe) -> Keys:
    hub = recipe.output.hub
    return {"hub_model_id": hub.repository} if hub.push and hub.repository else {}


RECORD: tuple[Writer, ...] = (
    Writer(("evaluate.every", "evaluate.at_start"), lambda recipe: _recurs("eval", recipe.evaluate.every)),
    Writer(("checkpoint.every",), lambda recipe: _recurs("save", recipe.checkpoint.every)),
    Writer(("checkpoint.resume",), lambda recipe: _resume(recipe.checkpoint.resume)),
    one("evaluate.patience", "early_stopping_patience"),
    one("evaluate.table_rows", "eval_table_size"),
    Writer(("track.to", "track.project"), _tracking),
    *map(_named, _KEYS),
    one("track.log_model", "wandb_log_model"),
    Writer(("output.hub.push", "output.hub.repository", "output.hub.private", "output.hub.always"), _hub),
)
