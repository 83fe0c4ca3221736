"""Processes that die on purpose: forked from this one, ended as kill -9 ends them, at a call or at a moment."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

CALLS = (
    (os, "fsync"),
    (os, "replace"),
    (os, "rename"),
    (os, "mkdir"),
    (os, "unlink"),
    (os, "rmdir"),
    (shutil, "rmtree"),
)
"""What changes or seals files, and is a boundary between two states of the disk."""


def at_each_boundary(work: Callable[[], object]) -> Iterator[int]:
    """Do some work in a child that dies right before its first such call; then, in another, before its second; and so
    on, until one survives. Yields after each death, and once at the end, with the number of calls made."""
    number = 0
    while True:
        died = _ended(work, number) != 0
        yield number
        if not died:
            return
        number += 1


def _ended(work: Callable[[], object], survived: int) -> int:
    child = os.fork()
    if child == 0:
        left = survived
        signal.alarm(120)

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*given: Any, **named: Any) -> Any:
                nonlocal left
                if left == 0:
                    os._exit(9)
                left -= 1
                return real(*given, **named)

            return call

        for module, name in CALLS:
            setattr(module, name, counted(getattr(module, name)))
        with suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9), "the work failed by itself"
    return code


def killed_after(seconds: float, work: Callable[[], object]) -> None:
    """Do some work in a child, and kill it after so many seconds."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            work()
        os._exit(1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def files_below(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its name therein, with what it holds."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
