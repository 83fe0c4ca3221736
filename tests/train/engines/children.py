"""Several forked processes: the real command, tampered with before it begins, or a piece of work of a test's own."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from luthier.environment import World, environment_of_rank
from luthier.train.launch import free_port

LONGEST = 240.0
"""Seconds after which processes are stopped."""


def at_once(processes: int, work: Callable[[World], None]) -> list[int | None]:
    """Do some work in each place of a world; the exit codes of its processes."""
    context: Any = multiprocessing.get_context("fork")
    port = free_port()
    places = [World(rank, processes, rank, "127.0.0.1", port) for rank in range(processes)]
    running = [context.Process(target=work, args=(place,)) for place in places]
    for one in running:
        one.start()
    try:
        for one in running:
            one.join(LONGEST)
    finally:
        for one in running:
            one.kill()
            one.join()
    return [one.exitcode for one in running]


def tampered(words: list[str], said: Path, tamper: Callable[[int], None], processes: int = 2) -> list[int | None]:
    """Run ``luthier`` with ``words``; the exit codes of its processes.

    Args:
        words: what stands after ``luthier``.
        said: a folder for what they say, ``0.txt`` and so on.
        tamper: is called with its rank in each process first.
        processes: how many there are.
    """
    return at_once(processes, partial(_command, processes, words, said, tamper))


def _command(count: int, words: list[str], said: Path, tamper: Callable[[int], None], place: World) -> None:
    from luthier.cli.app import main

    with (said / f"{place.rank}.txt").open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    warnings.simplefilter("ignore")  # else they are errors, as in tests
    os.environ.update(environment_of_rank(place, count))
    sys.argv = ["luthier", *words]
    tamper(place.rank)
    try:
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
