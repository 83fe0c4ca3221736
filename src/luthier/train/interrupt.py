"""SIGINT and SIGTERM ask a run to stop at a whole checkpoint, and a second one to stop at once; SIGUSR1 asks for a
checkpoint and no more."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Interrupted(BaseException):
    """The run stopped where a signal asked it to; ``code`` is the exit code that shells expect, ``saved`` whether a
    checkpoint holds all that it had done.

    No ``Exception``: it may come out of any line, and who handles the errors of that line is not meant.
    """

    def __init__(self, number: int, saved: bool = False) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number, self.code, self.saved = number, 128 + number, saved


@dataclass(slots=True)
class Asked:
    """The signal that asked the run to stop, if any did. ``at_once``: nothing would be lost now, so it need not wait
    for the end of a step, an evaluation, or whatever else is being done."""

    number: int | None = None
    at_once: bool = True
    save: bool = False
    """Whether SIGUSR1 has asked for a checkpoint."""


@contextmanager
def interruptions() -> Iterator[Asked]:
    """Catch the three signals while the context lasts.

    Raises:
        Interrupted: one came, and nothing would be lost.
    """
    asked = Asked()

    def note(number: int, frame: FrameType | None) -> None:
        if asked.number is not None:
            raise KeyboardInterrupt
        asked.number = number
        if asked.at_once:
            raise Interrupted(number)

    def note_save(number: int, frame: FrameType | None) -> None:
        asked.save = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, note_save)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
