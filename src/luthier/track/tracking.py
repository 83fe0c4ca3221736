"""All trackers of a run, behind the event log."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from luthier.recipe import Recipe
from luthier.record.events import Event, EventLog, Warned
from luthier.registry import resolve
from luthier.track.tracker import Follower, Identity, Wants


class Tracking(EventLog):
    """The run's own log, which every event reaches first; trackers hear of it afterwards."""

    def __init__(self, path: Path, recipe: Recipe, shown: dict[str, Any], warn: Callable[[str], None]) -> None:
        """Begin to follow.

        Args:
            path: of the log.
            recipe: says who is told.
            shown: the recipe as trackers may see it, without secrets.
            warn: is told what a tracker failed at, from another thread.
        """
        super().__init__(path)
        self._step, self._alone, self._tell = 0, Lock(), warn
        track = recipe.track
        identity = Identity(
            name=track.name or path.parent.name,
            folder=str(Path(track.dir) if track.dir else path.parent),
            recipe=shown,
            project=track.project,
            entity=track.entity,
            run_id=track.run_id,
            tags=track.tags,
            watch=track.watch,
            log_model=track.log_model,
            options=dict(track.options),
        )
        wants = Wants(path.parent, track.hide_nonfinite, track.log_model)
        self._followers: list[Follower] = [
            Follower(name, partial(resolve("trackers", name), identity), self.warn, wants) for name in track.to
        ]

    def follow(self, follower: Follower) -> None:
        """Tell one more."""
        self._followers.append(follower)

    def note(self, event: Event) -> None:
        """A follower's thread has an event of its own: it stands in the log, and the others do not hear of it."""
        with self._alone:
            super().write(event)

    def write(self, event: Event) -> None:
        """Append one event, and hand it on."""
        with self._alone:
            super().write(event)
        self._step = event.step
        for follower in self._followers:
            follower.tell(event)

    def warn(self, message: str) -> None:
        """A tracker's thread has something to say: it stands in the log, and is told."""
        with self._alone:
            super().write(Warned(step=self._step, message=message))
        self._tell(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for follower in self._followers:
            follower.close()
        super().__exit__(kind, error, trace)
