"""What happened in a run, as typed records: one JSON object a line in ``events.jsonl``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from luthier.errors import RunError
from luthier.redaction import scrubbed_texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at ``step`` optimiser steps. ``at`` is seconds since 1970."""

    kind: ClassVar[str] = ""
    step: int
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """The process began, anew (step 0) or from a checkpoint; steps after it were not kept and happen again."""

    kind: ClassVar[str] = "started"
    steps: int
    resumed_from: str | None = None
    device: str = "cpu"
    environment: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared(Event):
    """Rows became tokens; ``summary`` counts their fates."""

    kind: ClassVar[str] = "prepared"
    name: str
    documents: int
    tokens: int
    targets: int
    packs: int
    cached: bool
    seconds: float
    summary: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    """Names the tokens: the same rows, tokenizer and settings have the same one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped(Event):
    """One optimiser step. ``loss`` is the mean over its trained tokens (or pairs), as ``metrics`` are;
    ``gradient_norm`` is before clipping. ``cause`` says what was not finite where the step was skipped: ``loss``,
    ``gradient``, or ``overflow`` of gradients that a loss scaler had made large."""

    kind: ClassVar[str] = "step"
    epoch: float
    loss: float
    lr: float
    gradient_norm: float
    tokens: int
    targets: int
    seconds: float
    waited: float
    memory: int
    skipped: bool = False
    cause: str = ""
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched(Event):
    """How the numbers of the trained tensors are spread, just before a step: name -> [counts, edges]."""

    kind: ClassVar[str] = "watched"
    spreads: dict[str, list[list[float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated(Event):
    """Loss on evaluation rows, and the means of what else the objective tells."""

    kind: ClassVar[str] = "evaluated"
    loss: float
    targets: int
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Event):
    """Rows were answered by generation, those ``rows_of`` ``test`` or ``evaluation``; the answers lie in ``file``, a
    sample of them here."""

    kind: ClassVar[str] = "answered"
    when: str
    rows: int
    metrics: dict[str, float]
    file: str
    seconds: float
    rows_of: str = "test"
    sample: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved(Event):
    """A whole checkpoint, or the result, is on disk."""

    kind: ClassVar[str] = "saved"
    path: str
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Published(Event):
    """The model as it was at ``step`` lies on the hub, with the hashes that it has here."""

    kind: ClassVar[str] = "published"
    repository: str
    commit: str
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared(Event):
    """Every parameter's hash at the end against that at the beginning: so many trained ones moved, so many frozen ones
    did not; ``stood_still`` and ``drifted`` name those that did what they should not. ``before`` and ``after`` are
    hashes over all parameters' hashes."""

    kind: ClassVar[str] = "compared"
    moved: int
    unmoved: int
    stood_still: list[str]
    drifted: list[str]
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned(Event):
    """Something that the user should know and that did not stop the run; ``rows`` are those that it concerns."""

    kind: ClassVar[str] = "warned"
    message: str
    rows: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen(Event):
    """The result has the weights of ``best_step``, whose ``metric`` was the best of all evaluations."""

    kind: ClassVar[str] = "chosen"
    best_step: int
    metric: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Event):
    """The process ended before the run did, and could still say why: a signal, or an error of the user's."""

    kind: ClassVar[str] = "stopped"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Event):
    """The run is complete; ``reason`` is ``steps`` or ``early stopping``."""

    kind: ClassVar[str] = "finished"
    reason: str
    seconds: float
    result: str


KINDS: dict[str, type[Event]] = {
    one.kind: one
    for one in (
        Started,
        Prepared,
        Stepped,
        Watched,
        Evaluated,
        Answered,
        Saved,
        Published,
        Compared,
        Warned,
        Chosen,
        Stopped,
        Finished,
    )
}


class EventLog:
    """Appends events to a file; a line is whole or torn at the very end, where the next run cuts it off.

    A disk that is full or fails ends no run: what could not be written waits for the next event, and ``warn`` is told
    once, and again should it be lost at the end.
    """

    def __init__(self, path: Path, warn: Callable[[str], None] = lambda _: None) -> None:
        try:
            self._file = path.open("ab+", buffering=0)
            _cut_torn_line(self._file)
        except OSError as error:
            raise RunError(
                f"cannot be written: {error.strerror}", place=str(path), remedy="free disk space, or set output.dir"
            ) from error
        self._waiting = b""
        self._trouble, self._told_of_trouble = warn, False

    def write(self, event: Event) -> None:
        """Append one event, or let it wait where the disk does not take it."""
        line = json.dumps({"event": event.kind, **scrubbed_texts(asdict(event))}, ensure_ascii=False, default=str)
        self._waiting += line.encode() + b"\n"
        self._write_waiting()

    def sync(self) -> None:
        """Wait until everything written is on the disk."""
        self._write_waiting()
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            self._failing(error)

    def _write_waiting(self) -> None:
        try:
            while self._waiting:
                self._waiting = self._waiting[self._file.write(self._waiting) :]
        except OSError as error:
            self._failing(error)

    def _failing(self, error: OSError) -> None:
        if not self._told_of_trouble:
            self._told_of_trouble = True
            self._trouble(f"{self._file.name} cannot be written ({error.strerror}): what happens is kept in memory")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write_waiting()
        if self._waiting:
            lost = self._waiting.count(b"\n")
            self._trouble(f"{lost:,} events could not be written to {self._file.name} and are lost")
        self._file.close()


def _cut_torn_line(file: Any) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    data = file.read()
    whole = data.rfind(b"\n") + 1
    if whole != size:
        file.truncate(whole)
    file.seek(0, os.SEEK_END)


def read_events(path: Path) -> Iterator[Event]:
    """All events of a file in their order; a torn last line is passed over."""
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            record = json.loads(line)
            kind = KINDS[record.pop("event")]
            yield kind(**record)


def effective(events: Iterator[Event] | list[Event]) -> list[Event]:
    """The history that counts: what a resumed process did again replaces what was done after its checkpoint."""
    kept: list[Event] = []
    for event in events:
        if isinstance(event, Started):
            kept = [earlier for earlier in kept if earlier.step <= event.step or isinstance(earlier, Started)]
            if event.step == 0:
                kept = [earlier for earlier in kept if isinstance(earlier, Started)]
        kept.append(event)
    return kept
