"""Uploads in the course of a run: a thread that follows its events, and that the run never waits for before its end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from luthier.errors import LuthierError
from luthier.publish.card import card_of_run
from luthier.publish.hub import Repository, Upload, files_of, open_repository, told, upload
from luthier.recipe import Recipe
from luthier.record.checkpoints import hold, release
from luthier.record.events import Event, Finished, Published, Saved
from luthier.record.folder import RunFolder
from luthier.track.tracker import Follower, Tracker, Wants

SLOWEST = 250_000
"""Bytes a second that the end of a run waits for an upload at."""

LEAST = 60.0
"""Seconds that it waits at least."""


class Publisher(Follower):
    """Carries ``output.hub`` out.

    ``end`` uploads the result alone. ``every_save`` puts the model as it stands at each checkpoint in its place,
    ``checkpoint`` the newest checkpoint beside it as ``last-checkpoint``, ``all_checkpoints`` each under its own name.
    While an upload is going on, later checkpoints are passed over, unless ``always`` is on. A hub that fails is told
    of once; the result can be uploaded afterwards.
    """

    def __init__(
        self, recipe: Recipe, folder: RunFolder, tell: Callable[[Event], None], warn: Callable[[str], None]
    ) -> None:
        self._hub, self._folder, self._told = recipe.output.hub, folder, tell
        self._busy = self._gone = False
        super().__init__("the hub", _nobody, warn, Wants(folder.root))

    def tell(self, event: Event) -> None:
        """Hand over an event, at once; a checkpoint that nobody will upload leaves no draft behind."""
        if isinstance(event, Saved) and self._draft(event) is not None:
            if self._gone or self._hub.strategy == "end" or (self._busy and not self._hub.always):
                shutil.rmtree(self._draft(event) or "", ignore_errors=True)
                return
            self._busy = True
            hold(self._folder.root / event.path)
        if isinstance(event, Saved | Finished):
            super().tell(event)

    def close(self, patience: float | None = None) -> None:
        """Wait for what is still to be uploaded, as long as a slow line would take."""
        size = sum(path.stat().st_size for path in self._folder.model.glob("*")) if self._folder.model.is_dir() else 0
        super().close(LEAST + size / SLOWEST if patience is None else patience)
        shutil.rmtree(self._folder.drafts, ignore_errors=True)

    def _draft(self, event: Saved) -> Path | None:
        """Where the model of a checkpoint lies."""
        place = self._folder.root / event.path
        return self._folder.drafts / place.name if place.parent == self._folder.checkpoints else None

    def _work(self, make: Callable[[], Tracker]) -> None:
        later = f"later: luthier push {self._folder.root} --to {self._hub.repository or 'OWNER/NAME'}"
        repository = Repository("", "")
        try:
            name = self._hub.repository or self._folder.root.resolve().name
            repository = open_repository(name, self._hub.private, self._hub.revision)
        except Exception as error:  # noqa: BLE001
            remedy = error.faults[0].remedy if isinstance(error, LuthierError) else ""
            self._gone = True
            self._warn(f"nothing is uploaded to the hub: {told(error)} ({remedy}; {later})")
        while (event := self._waiting.get()) is not None:
            try:
                if not self._gone:
                    self._publish(repository, event)
            except Exception as error:  # noqa: BLE001
                self._warn(f"not uploaded to the hub: {told(error)} ({later})")
            finally:
                if isinstance(event, Saved) and self._draft(event) is not None:
                    release(self._folder.root / event.path)
                self._busy = not self._waiting.empty()

    def _publish(self, repository: Repository, event: Event) -> None:
        begun = time.monotonic()
        if isinstance(event, Finished):
            self._send(repository, event, files_of(self._folder.root / event.result), "the result", begun)
        draft = self._draft(event) if isinstance(event, Saved) else None
        if draft is None or not draft.is_dir() or not isinstance(event, Saved):
            return
        checkpoint = self._folder.root / event.path
        files = files_of(draft)
        if self._hub.strategy in ("checkpoint", "all_checkpoints"):
            newest = self._hub.strategy == "checkpoint"
            files |= files_of(checkpoint, "last-checkpoint/" if newest else f"checkpoints/{checkpoint.name}/")
        self._send(repository, event, files, f"step {event.step}", begun)
        shutil.rmtree(draft, ignore_errors=True)

    def _send(self, repository: Repository, event: Event, files: Upload, what: str, begun: float) -> None:
        files = {**files, "README.md": card_of_run(self._folder, repository.name).encode()}
        commit = upload(repository, files, f"{what} of {self._folder.root.resolve().name}")
        size = sum(len(one) if isinstance(one, bytes) else one.stat().st_size for one in files.values())
        self._told(
            Published(
                step=event.step,
                repository=repository.name,
                commit=commit,
                bytes=size,
                seconds=time.monotonic() - begun,
            )
        )


def _nobody() -> Any:
    return None
