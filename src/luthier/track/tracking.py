"""All trackers of a run, behind the event log."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from luthier.recipe import Recipe
from luthier.recipe.track import Track
from luthier.record.events import Event, EventLog, Warned
from luthier.record.folder import write_json
from luthier.registry import resolve
from luthier.track.tracker import Follower, Identity, Wants

IDS = "trackers.json"
"""Beside the log: the name of each tracker -> the id of its run."""

TAKEN = ("project", "entity", "name", "run_id", "tags", "watch", "log_model", "dir")
"""Settings that a tracker may have no place for."""


class Tracking(EventLog):
    """The run's own log, which every event reaches first; trackers hear of it afterwards."""

    def __init__(
        self, path: Path, recipe: Recipe, shown: dict[str, Any], warn: Callable[[str], None], step: int = 0
    ) -> None:
        """Begin to follow.

        Args:
            path: of the log.
            recipe: says who is told.
            shown: the recipe as trackers may see it, without secrets.
            warn: is told what a tracker failed at, from another thread.
            step: that the run goes on from, in the tracker's own run of before; 0 begins anew.
        """
        super().__init__(path, warn)
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
            step=step,
        )
        self._ids = path.with_name(IDS)
        known = _known_ids(self._ids) if step else {}
        wants = Wants(path.parent, track.hide_nonfinite, track.log_model)
        self._unsaid: list[str] = []
        self._followers: list[Follower] = [
            Follower(
                name,
                partial(resolve("trackers", name), replace(identity, run_id=track.run_id or known.get(name))),
                self.warn,
                wants,
                self._keep_id,
            )
            for name in track.to
        ]
        for name in track.to:
            unused = _unused(recipe, resolve("trackers", name))
            if unused:
                self._unsaid.append(f"{name} has no place for {', '.join(f'track.{one}' for one in unused)}")

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
        while self._unsaid:
            self.warn(self._unsaid.pop(0))

    def _keep_id(self, name: str, run_id: str) -> None:
        """A tracker's run has begun: a process that goes on with this one will go on with it."""
        with self._alone:
            write_json(self._ids, {**_known_ids(self._ids), name: run_id})

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


def _known_ids(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(one) for name, one in found.items()} if isinstance(found, dict) else {}


def _unused(recipe: Recipe, tracker: Any) -> list[str]:
    """The settings that the recipe makes and that this tracker does not take."""
    uses = getattr(tracker, "uses", None)
    if uses is None:
        return []
    default = Track()
    made = [name for name in TAKEN if getattr(recipe.track, name) != getattr(default, name)]
    return [name for name in (*made, *(f"options.{one}" for one in recipe.track.options)) if name not in uses]
