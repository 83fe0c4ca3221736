"""What a tracker is, and the thread that feeds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any, ClassVar, Protocol

from luthier.record.checkpoints import held
from luthier.record.events import Answered, Evaluated, Event, Finished, Saved, Stepped, Watched
from luthier.redaction import scrubbed, scrubbed_texts

WAITING = 4096
"""Events that may wait for a slow tracker; later ones are passed over, and counted."""

PATIENCE = 30.0
"""Seconds at the end of a run that a tracker has for what still waits."""

Values = dict[str, float]

Spreads = dict[str, list[list[float]]]
"""Name -> [counts, edges] of a histogram."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a tracker files a run under. ``options`` are the tracker's own; ``recipe`` has its secrets taken out."""

    name: str
    folder: str
    recipe: dict[str, Any]
    project: str | None = None
    entity: str | None = None
    run_id: str | None = None
    tags: tuple[str, ...] = ()
    watch: str | None = None
    log_model: str | None = None
    options: dict[str, Any] | None = None
    step: int = 0
    """The step that the process goes on from."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What trackers are told: figures that are not finite or not, and which weights (``checkpoint``, ``end`` or none)
    of the run in ``root``."""

    root: Path
    hide_nonfinite: bool = False
    files: str | None = None


class Tracker(Protocol):
    """One tracker's own library behind a few verbs; any of them may raise, wait, or fail."""

    uses: ClassVar[tuple[str, ...]]
    """Which of the settings in ``track`` it takes, options as ``options.name``."""

    run_id: str | None
    """By what the run is found again, where it has such a thing."""

    def __init__(self, identity: Identity) -> None:
        """Begin, or go on with, the run."""

    def values(self, values: Values, step: int) -> None:
        """Some figures."""

    def answers(self, name: str, rows: Sequence[dict[str, Any]], step: int) -> None:
        """A table of generated answers."""

    def spreads(self, spreads: Spreads, step: int) -> None:
        """How gradients and weights are spread."""

    def files(self, folder: str, name: str) -> None:
        """A checkpoint's or the result's folder, to be uploaded."""

    def end(self, whole: bool) -> None:
        """The process ends; ``whole`` says whether the run is complete."""


def values_of(event: Event, hide_nonfinite: bool = False) -> Values:
    """An event's figures under the names that transformers' Trainer gives them, so that dashboards go on working."""
    if isinstance(event, Stepped):
        found = {
            "train/loss": event.loss,
            "train/learning_rate": event.lr,
            "train/grad_norm": event.gradient_norm,
            "train/epoch": event.epoch,
            "train/tokens_per_second": event.tokens / event.seconds if event.seconds > 0 else 0.0,
            "train/memory": float(event.memory),
            **{f"train/{name}": value for name, value in event.metrics.items()},
        }
    elif isinstance(event, Evaluated):
        found = {"eval/loss": event.loss, **{f"eval/{name}": value for name, value in event.metrics.items()}}
    elif isinstance(event, Answered):
        before = "test" if event.rows_of == "test" else "eval"
        found = {f"{before}/{name}": value for name, value in event.metrics.items()}
    else:
        return {}
    return {name: value for name, value in found.items() if math.isfinite(value)} if hide_nonfinite else found


def _weights(event: Event, wants: Wants) -> tuple[Path | None, str]:
    """The folder of weights that an event tells of, where they are wanted."""
    if isinstance(event, Saved) and wants.files == "checkpoint" and event.path.startswith("checkpoints/"):
        return wants.root / event.path, f"checkpoint-{event.step}"
    if isinstance(event, Finished) and wants.files:
        return wants.root / event.result, "model"
    return None, ""


class Follower:
    """One tracker in a thread of its own: the run hands it events and never waits for it.

    A tracker that raises is told of once, and heard no more.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Tracker],
        warn: Callable[[str], None],
        wants: Wants,
        begun: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        """Begin; ``begun`` is told by what name and id the tracker's run is found again."""
        self.name, self._begun = name, begun
        self._warn, self._wants = warn, wants
        self._waiting: Queue[Event | None] = Queue(WAITING)
        self._passed_over = 0
        self._thread = Thread(target=self._work, args=(make,), name=f"tracker {name}", daemon=True)
        self._thread.start()

    def tell(self, event: Event) -> None:
        """Hand over an event, at once."""
        try:
            self._waiting.put_nowait(event)
        except Full:
            self._passed_over += 1

    def close(self, patience: float = PATIENCE) -> None:
        """Let it finish what waits, for so many seconds."""
        with suppress(Full):
            self._waiting.put(None, timeout=patience)
        self._thread.join(patience)
        if self._thread.is_alive():
            self._warn(f"{self.name} did not finish within {patience:.0f} s; the run's own record is whole")
        elif self._passed_over:
            self._warn(f"{self.name} was too slow for {self._passed_over:,} events; the run's own record is whole")

    def _work(self, make: Callable[[], Tracker]) -> None:
        try:
            tracker = make()
            run_id = getattr(tracker, "run_id", None)
            if run_id:
                self._begun(self.name, run_id)
            whole = self._follow(tracker)
            tracker.end(whole)
        except Exception as error:  # noqa: BLE001
            told = scrubbed(str(error)).strip().splitlines() or [""]
            self._warn(f"{self.name} failed and is told no more ({type(error).__name__}: {told[0][:200]})")
            self._drain()

    def _follow(self, tracker: Tracker) -> bool:
        whole = False
        while (event := self._waiting.get()) is not None:
            values = values_of(event, self._wants.hide_nonfinite)
            if values:
                tracker.values(values, event.step)
            if isinstance(event, Answered) and event.sample:
                tracker.answers(event.rows_of, scrubbed_texts(event.sample), event.step)
            if isinstance(event, Watched):
                tracker.spreads(event.spreads, event.step)
            folder, name = _weights(event, self._wants)
            if folder is not None:
                with held(folder):
                    if folder.is_dir():
                        tracker.files(str(folder), name)
            whole = isinstance(event, Finished)
        return whole

    def _drain(self) -> None:
        with suppress(Empty):
            while self._waiting.get(timeout=PATIENCE) is not None:
                pass
