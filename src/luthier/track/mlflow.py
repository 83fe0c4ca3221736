"""MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luthier.track.tracker import Identity, Spreads, Values

LONGEST = 500
"""Characters of a parameter's value that every MLflow server takes."""


class Mlflow:
    """MLflow through its own client; unless told where its server is, a database below the run's folder."""

    uses = (
        *("dir", "hide_nonfinite", "project", "name", "run_id", "tags", "log_model"),
        "options.mlflow_tracking_uri",
    )

    def __init__(self, identity: Identity) -> None:
        from mlflow.tracking import MlflowClient

        options = identity.options or {}
        folder, server = Path(identity.folder).absolute(), options.get("mlflow_tracking_uri")
        self._client: Any = MlflowClient(tracking_uri=str(server or f"sqlite:///{folder / 'mlflow.db'}"))
        name = identity.project or "luthier"
        experiment = self._client.get_experiment_by_name(name)
        files = {} if server else {"artifact_location": (folder / "mlartifacts").as_uri()}
        number = experiment.experiment_id if experiment else self._client.create_experiment(name, **files)
        if identity.run_id:
            self._id: str = identity.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            tags = dict.fromkeys(identity.tags, "")
            self._id = self._client.create_run(number, run_name=identity.name, tags=tags).info.run_id
            for key, value in flat(identity.recipe).items():
                self._client.log_param(self._id, key, str(value)[:LONGEST])

        self.run_id: str | None = self._id

    def values(self, values: Values, step: int) -> None:
        """One point of each metric."""
        for name, value in values.items():
            self._client.log_metric(self._id, name, value, step=step)

    def answers(self, name: str, rows: Sequence[dict[str, Any]], step: int) -> None:
        """A table, as an artifact."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = {column: [str(row.get(column, "")) for row in rows] for column in columns}
        self._client.log_table(self._id, table, f"answers-{name}-{step}.json")

    def spreads(self, spreads: Spreads, step: int) -> None:
        """Nothing is watched for MLflow."""

    def files(self, folder: str, name: str) -> None:
        """The weights, as artifacts."""
        self._client.log_artifacts(self._id, folder, name)

    def end(self, whole: bool) -> None:
        """Finish, as killed where the run is not complete."""
        self._client.set_terminated(self._id, "FINISHED" if whole else "KILLED")


def flat(tree: dict[str, Any], before: str = "") -> dict[str, Any]:
    """A tree's leaves under their dotted names.

    >>> flat({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    found: dict[str, Any] = {}
    for name, value in tree.items():
        inner = flat(value, f"{before}{name}.") if isinstance(value, dict) and value else {f"{before}{name}": value}
        found |= inner
    return found
