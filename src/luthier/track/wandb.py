"""Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from luthier.track.tracker import Identity, Spreads, Values


class WeightsAndBiases:
    """W&B through its own library. ``options.mode: offline`` keeps everything in the folder, as does having no key:
    nobody is asked for one in the middle of a run."""

    uses = (
        *("dir", "hide_nonfinite", "project", "entity", "name", "run_id", "tags", "watch", "log_model"),
        *("options.mode", "options.project", "options.group", "options.notes", "options.job_type"),
    )

    def __init__(self, identity: Identity) -> None:
        import wandb

        options = dict(identity.options or {})
        if not options.get("mode") and not os.environ.get("WANDB_MODE") and wandb.api.api_key is None:
            options["mode"] = "offline"
        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            project=options.pop("project", identity.project),
            entity=identity.entity,
            name=identity.name,
            id=identity.run_id,
            resume="allow" if identity.run_id else None,
            dir=identity.folder,
            config=identity.recipe,
            tags=list(identity.tags) or None,
            settings=wandb.Settings(silent=True, console="off", save_code=False),
            **{name: value for name, value in options.items() if name in ("mode", "group", "notes", "job_type")},
        )

        self.run_id: str | None = self._run.id

    def values(self, values: Values, step: int) -> None:
        """One point of each curve, over the optimiser steps."""
        self._run.log({**values, "train/global_step": step}, step=step)

    def answers(self, name: str, rows: Sequence[dict[str, Any]], step: int) -> None:
        """A table."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        data = [[str(row.get(column, "")) for column in columns] for row in rows]
        self._run.log({f"answers/{name}": self._wandb.Table(columns=columns, data=data)}, step=step)

    def spreads(self, spreads: Spreads, step: int) -> None:
        """Histograms."""
        made = {name: self._wandb.Histogram(np_histogram=tuple(pair)) for name, pair in spreads.items()}
        self._run.log(made, step=step)

    def files(self, folder: str, name: str) -> None:
        """An artifact of the weights."""
        artifact = self._wandb.Artifact(f"{self._run.id}-{name}", type="model")
        artifact.add_dir(folder)
        self._run.log_artifact(artifact)

    def end(self, whole: bool) -> None:
        """Finish, as failed where the run is not complete."""
        self._run.finish(exit_code=0 if whole else 1)
