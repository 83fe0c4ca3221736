"""The record of a process that writes none: the first of several writes for all."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from luthier.record.events import Event, EventLog


class NoLog(EventLog):
    """Takes events and keeps none."""

    def __init__(self) -> None:
        """Opens nothing."""

    def write(self, event: Event) -> None:
        """Forget it."""

    def sync(self) -> None:
        """There is nothing to wait for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
