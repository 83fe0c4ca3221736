"""Events -> what the page tells: each step once, the processes that took them, the figures at the ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from luthier.record.events import (
    Answered,
    Chosen,
    Compared,
    Evaluated,
    Event,
    Finished,
    Prepared,
    Saved,
    Started,
    Stepped,
    Stopped,
    Warned,
    effective,
)

Some = TypeVar("Some", bound=Event)


@dataclass(frozen=True, slots=True)
class Restart:
    """A later process of the run: where it began, from what, how many steps it took a second time, and what the one
    before it had said when it ended (nothing, if it was killed)."""

    started: Started
    again: int
    ended: str


@dataclass(frozen=True, slots=True)
class History:
    """What counts of a run's events. ``seconds`` is the time its processes were there, pauses between them left out."""

    started: Started
    steps: tuple[Stepped, ...] = ()
    evaluations: tuple[Evaluated, ...] = ()
    prepared: tuple[Prepared, ...] = ()
    before: Answered | None = None
    after: Answered | None = None
    during: tuple[Answered, ...] = ()
    saved: tuple[Saved, ...] = ()
    warned: tuple[Warned, ...] = ()
    restarts: tuple[Restart, ...] = ()
    finished: Finished | None = None
    stopped: Stopped | None = None
    compared: Compared | None = None
    chosen: Chosen | None = None
    seconds: float = 0.0
    begun: float = 0.0

    @property
    def last_step(self) -> int:
        """The last step taken."""
        return self.steps[-1].step if self.steps else 0

    @property
    def planned_steps(self) -> int:
        """The steps the newest process meant to reach."""
        return self.started.steps


def history(events: Sequence[Event]) -> History:
    """The history of a run that has at least started."""
    kept = effective(list(events))
    processes = list(_processes(events))
    starts = list(_those(kept, Started))
    answers = list(_those(kept, Answered))
    befores = [one for one in answers if one.when == "before"]
    afters = [one for one in answers if one.when == "after"]
    after_last_start = kept[kept.index(starts[-1]) :]
    return History(
        started=starts[-1],
        steps=tuple(_last_of_each_step(_those(kept, Stepped))),
        evaluations=tuple(_last_of_each_step(_those(kept, Evaluated))),
        prepared=tuple(_first_of_each_name(_those(kept, Prepared))),
        before=befores[-1] if befores else None,
        after=afters[-1] if afters else None,
        during=tuple(_last_of_each_step(one for one in answers if one.when not in ("before", "after"))),
        saved=tuple({one.path: one for one in _those(kept, Saved)}.values()),
        warned=tuple(_those(kept, Warned)),
        restarts=tuple(_restarts(processes)),
        finished=next(reversed(list(_those(after_last_start, Finished))), None),
        stopped=next(reversed(list(_those(after_last_start, Stopped))), None),
        compared=next(reversed(list(_those(after_last_start, Compared))), None),
        chosen=next(reversed(list(_those(after_last_start, Chosen))), None),
        seconds=_seconds(processes),
        begun=starts[0].at,
    )


def _those(events: Sequence[Event], kind: type[Some]) -> Iterator[Some]:
    return (event for event in events if isinstance(event, kind))


def _last_of_each_step(events: Iterator[Some]) -> list[Some]:
    latest = {event.step: event for event in events}
    return [latest[step] for step in sorted(latest)]


def _first_of_each_name(events: Iterator[Prepared]) -> list[Prepared]:
    """A resumed process prepares again, from the cache; the first time tells what happened to the rows."""
    first: dict[str, Prepared] = {}
    for event in events:
        first.setdefault(event.name, event)
    return list(first.values())


def _processes(events: Sequence[Event]) -> Iterator[list[Event]]:
    current: list[Event] = []
    for event in events:
        if isinstance(event, Started) and any(isinstance(earlier, Started) for earlier in current):
            yield current
            current = []
        current.append(event)
    if current:
        yield current


def _restarts(processes: list[list[Event]]) -> Iterator[Restart]:
    reached = 0
    for number, process in enumerate(processes):
        start = next(_those(process, Started))
        if number:
            ended = next(reversed([one.reason for one in _those(processes[number - 1], Stopped)]), "")
            yield Restart(start, max(0, reached - start.step), ended)
        reached = max((step.step for step in _those(process, Stepped)), default=start.step)


def _seconds(processes: list[list[Event]]) -> float:
    last = processes[-1][-1]
    if len(processes) == 1 and isinstance(last, Finished):
        return last.seconds
    # A process may warn before it says that it started: such a warning is no sign that the one before was still there.
    spans = ([event.at for event in process if not isinstance(event, Warned)] for process in processes)
    return sum(max(0.0, times[-1] - times[0]) for times in spans)
