"""TensorBoard: files below the run's folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luthier.track.tracker import Identity, Spreads, Values


class TensorBoard:
    """TensorBoard's own event files, through torch's writer. What a resumed run does again replaces what it did."""

    uses = ("dir", "hide_nonfinite", "log_model")
    run_id: str | None = None

    def __init__(self, identity: Identity) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge = identity.step + 1 if identity.step else None
        self._writer: Any = SummaryWriter(str(Path(identity.folder) / "tensorboard"), purge_step=purge)
        self._writer.add_text("recipe", f"```json\n{json.dumps(identity.recipe, ensure_ascii=False, indent=2)}\n```")

    def values(self, values: Values, step: int) -> None:
        """One scalar each."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def answers(self, name: str, rows: Sequence[dict[str, Any]], step: int) -> None:
        """The answers as text."""
        lines = ("\n".join(f"{key}: {value}" for key, value in row.items()) for row in rows)
        self._writer.add_text(f"answers/{name}", "\n\n---\n\n".join(f"```\n{line}\n```" for line in lines), step)

    def spreads(self, spreads: Spreads, step: int) -> None:
        """Nothing is watched for TensorBoard."""

    def files(self, folder: str, name: str) -> None:
        """TensorBoard holds no files: where they lie is told."""
        self._writer.add_text(name, folder)

    def end(self, whole: bool) -> None:
        """Close the files."""
        self._writer.close()
