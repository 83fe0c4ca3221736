"""SIGINT and SIGTERM ask a run to stop at its next whole checkpoint; a second one stops it at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Interrupted(Exception):
    """The run stopped where a signal asked it to; ``code`` is the exit code that shells expect."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.code = 128 + number


@dataclass(slots=True)
class Asked:
    """The signal that asked the run to stop, if any did."""

    number: int | None = None


@contextmanager
def interruptions() -> Iterator[Asked]:
    """Catch the two signals while the context lasts."""
    asked = Asked()

    def note(number: int, frame: FrameType | None) -> None:
        if asked.number is not None:
            raise KeyboardInterrupt
        asked.number = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
