"""Trackers whose library is a run with ``log``: SwanLab, Trackio, Comet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from luthier.track.mlflow import flat
from luthier.track.tracker import Identity, Spreads, Values


class Trackio:
    """Trackio: a local database of its own, or a space on the hub. A run is found again by its name."""

    uses = ("hide_nonfinite", "project", "name", "options.trackio_space_id")
    run_id: str | None = None

    def __init__(self, identity: Identity) -> None:
        import trackio

        self._trackio: Any = trackio
        options = identity.options or {}
        space = options.get("trackio_space_id")
        self._run: Any = trackio.init(
            project=identity.project or "luthier",
            name=identity.name,
            config=flat(identity.recipe),
            space_id=str(space) if space else None,
            resume="allow",
            embed=False,
        )

    def values(self, values: Values, step: int) -> None:
        """One point of each curve."""
        self._trackio.log(values, step=step)

    def answers(self, name: str, rows: Sequence[dict[str, Any]], step: int) -> None:
        """A table."""
        import pandas

        table = self._trackio.Table(dataframe=pandas.DataFrame([{key: str(row[key]) for key in row} for row in rows]))
        self._trackio.log({f"answers/{name}": table}, step=step)

    def spreads(self, spreads: Spreads, step: int) -> None:
        """Nothing is watched for Trackio."""

    def files(self, folder: str, name: str) -> None:
        """Trackio keeps figures alone."""

    def end(self, whole: bool) -> None:
        """Finish."""
        self._trackio.finish()


class SwanLab:
    """SwanLab; ``options.mode: local`` or ``offline`` sends nothing, and cannot go on with a run."""

    uses = (
        *("dir", "hide_nonfinite", "project", "entity", "name", "run_id", "tags"),
        *("options.mode", "options.description"),
    )

    def __init__(self, identity: Identity) -> None:
        import swanlab

        options = identity.options or {}
        self._swanlab: Any = swanlab
        self._run: Any = swanlab.init(
            project=identity.project,
            workspace=identity.entity,
            experiment_name=identity.name,
            config=identity.recipe,
            description=options.get("description"),
            logdir=identity.folder,
            mode=options.get("mode"),
            tags=list(identity.tags) or None,
            **({"id": identity.run_id, "resume": "allow"} if identity.run_id else {}),
        )
        self.run_id: str | None = str(self._run.id) if options.get("mode") in (None, "online", "cloud") else None

    def values(self, values: Values, step: int) -> None:
        """One point of each curve."""
        self._swanlab.log(values, step=step)

    def answers(self, name: str, rows: Sequence[dict[str, Any]], step: int) -> None:
        """Texts."""
        said = ["\n".join(f"{key}: {value}" for key, value in row.items()) for row in rows]
        self._swanlab.log({f"answers/{name}": [self._swanlab.Text(one) for one in said]}, step=step)

    def spreads(self, spreads: Spreads, step: int) -> None:
        """Nothing is watched for SwanLab."""

    def files(self, folder: str, name: str) -> None:
        """SwanLab keeps figures alone."""

    def end(self, whole: bool) -> None:
        """Finish, as crashed where the run is not complete."""
        if whole:
            self._swanlab.finish()
        else:
            self._swanlab.finish("crashed", error="the run is not complete")


class Comet:
    """Comet; ``options.online: false`` keeps an archive in the folder."""

    uses = (
        *("hide_nonfinite", "project", "entity", "name", "run_id", "tags", "log_model"),
        *("options.online",),
    )

    def __init__(self, identity: Identity) -> None:
        import comet_ml

        options = identity.options or {}
        self._experiment: Any = comet_ml.start(
            project_name=identity.project,
            workspace=identity.entity,
            experiment_key=identity.run_id,
            online=options.get("online", True),
            experiment_config=comet_ml.ExperimentConfig(
                name=identity.name, tags=list(identity.tags) or None, offline_directory=identity.folder
            ),
        )
        self._experiment.log_parameters(flat(identity.recipe))
        self.run_id: str | None = str(self._experiment.get_key())

    def values(self, values: Values, step: int) -> None:
        """One point of each curve."""
        self._experiment.log_metrics(values, step=step)

    def answers(self, name: str, rows: Sequence[dict[str, Any]], step: int) -> None:
        """A table."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        data = [columns, *([str(row.get(column, "")) for column in columns] for row in rows)]
        self._experiment.log_table(f"answers-{name}-{step}.csv", tabular_data=data)

    def spreads(self, spreads: Spreads, step: int) -> None:
        """Nothing is watched for Comet."""

    def files(self, folder: str, name: str) -> None:
        """The weights."""
        self._experiment.log_model(name, folder)

    def end(self, whole: bool) -> None:
        """Finish."""
        self._experiment.end()
