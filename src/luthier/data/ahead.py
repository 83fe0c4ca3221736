"""The next step's batches are made while a device is still at work on this one's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Ahead(Generic[Thing], Iterator[Thing]):
    """An iterator whose next thing can be made early: between launching a device's work and waiting for its result.

    Things come in the same order, each of them once, and so do exceptions: making one early shows nothing. There is no
    thread: on a CPU, where the work itself takes the cores, one gains nothing (measured: it only adds the wait for
    Python's lock), and elsewhere the time between launch and result is more than making a batch takes.
    """

    def __init__(self, things: Iterator[Thing]) -> None:
        self._things = things
        self._next: list[Thing] = []
        self._error: BaseException | None = None

    def prepare(self) -> None:
        """Make the next thing now, if it is not made yet."""
        if self._next or self._error is not None:
            return
        try:
            self._next.append(next(self._things))
        except BaseException as error:  # noqa: BLE001 - StopIteration too: it comes when the thing would have come
            self._error = error

    def __next__(self) -> Thing:
        self.prepare()
        if self._error is not None:
            raise self._error
        return self._next.pop()
