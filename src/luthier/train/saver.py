"""Writes checkpoints: at once, or in a thread of its own while training goes on. One is being written at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

import torch

from luthier.errors import CheckpointError
from luthier.recipe.checkpoint import Checkpoint
from luthier.record.checkpoints import retire, size_of
from luthier.train import checkpoint
from luthier.train.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a save: the checkpoint, or why there is none; ``trouble``: what went wrong beside it."""

    step: int
    path: Path | None
    bytes: int = 0
    seconds: float = 0.0
    trouble: str = ""


class Saver:
    """Saves into a folder, and deletes there what the recipe does not keep."""

    def __init__(self, folder: Path, settings: Checkpoint, ranks: Ranks) -> None:
        self._folder, self._settings, self._ranks = folder, settings, ranks
        self._thread: Thread | None = None
        self._outcome: Outcome | None = None

    def begin(self, step: int, state: checkpoint.State, spare: int | None) -> None:
        """Save a state as that of ``step``; ``spare`` is a step whose checkpoint stays.

        With ``checkpoint.asynchronous`` it is copied to the CPU, and this returns while it is being written.
        """
        assert self._thread is None and self._outcome is None, "one save at a time"
        if not self._settings.asynchronous:
            self._save(step, state, spare)
            return
        self._thread = Thread(target=self._save, args=(step, _copied(state), spare), name="checkpoint")
        self._thread.start()

    def taken(self, wait: bool) -> Outcome | None:
        """What became of the save that was begun, once; None while it is being written, or where there was none."""
        if self._thread is not None:
            if not wait and self._thread.is_alive():
                return None
            self._thread.join()
            self._thread = None
            self._outcome = self._outcome or Outcome(0, None, trouble="a checkpoint could not be written; see above")
        outcome, self._outcome = self._outcome, None
        return outcome

    def _save(self, step: int, state: checkpoint.State, spare: int | None) -> None:
        begun = time.monotonic()
        try:
            path = checkpoint.save(self._folder, f"step-{step:08d}", state, self._ranks)
        except CheckpointError as error:
            self._outcome = Outcome(step, None, trouble=str(error))
            return
        trouble = ""
        if self._ranks.first:
            try:
                retire(self._folder, self._settings.keep_last, spare, self._settings.keep_every)
            except OSError as error:
                trouble = f"{self._folder}: older checkpoints could not be deleted ({error.strerror})"
        self._outcome = Outcome(step, path, size_of(path), time.monotonic() - begun, trouble)


def _copied(state: checkpoint.State) -> checkpoint.State:
    """The state as it is now, on the CPU: steps to come do not change it."""

    def copies(tensors: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        return {name: one.detach().to("cpu", copy=True) for name, one in tensors.items()}

    return replace(state, weights=copies(state.weights), optimizer=copies(state.optimizer), random=copies(state.random))
