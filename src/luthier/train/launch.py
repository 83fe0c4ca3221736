"""Several processes of one command on this machine: started, watched, stopped together, and told how they ended.

Each finds its place in the environment under torchrun's names, so what can join a torchrun joins these. Unlike
torchrun, a signal lets a run take the time that its checkpoint needs, and a death is told in one line.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from luthier.environment import World, environment_of_rank
from luthier.errors import RunError

GRACE = 20.0
"""Seconds that the others have to end by themselves once one has failed; then they are stopped, and killed after as
many again."""

LAST_WORD = 3.0
"""Seconds that a process which has nothing to tell leaves the first one to tell why all stop: srun, torchrun and mpirun
end every process as soon as one of them ends in error."""

PORT = 29_400
"""Where machines meet when the user names no port; torchrun's own default."""


@dataclass(frozen=True, slots=True)
class Machines:
    """How many machines share a run, which of them this is, how many processes each has, and where they meet."""

    processes: int
    nodes: int = 1
    node: int = 0
    rendezvous: str = ""

    def places(self) -> Iterator[World]:
        """The places of this machine's processes.

        Raises:
            RunError: the numbers do not fit one another, or there is nowhere to meet.
        """
        if not 0 <= self.node < self.nodes:
            remedy = f"number the machines from 0 to {self.nodes - 1}"
            raise RunError(f"there is no machine {self.node} among {self.nodes}", place="--node-rank", remedy=remedy)
        if self.nodes > 1 and not self.rendezvous:
            raise RunError(
                "several machines have to meet somewhere",
                place="--rendezvous",
                remedy="give the first machine's address and a free port of it, as node0:29400, to all",
            )
        host, _, port = self.rendezvous.rpartition(":") if ":" in self.rendezvous else (self.rendezvous, "", "")
        if port and not port.isdecimal():
            raise RunError(f"{port!r} is no port", place="--rendezvous", remedy="write it as host:port")
        number = int(port) if port else PORT if self.rendezvous else free_port()
        for local in range(self.processes):
            rank = self.node * self.processes + local
            yield World(rank, self.nodes * self.processes, local, host or "127.0.0.1", number)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(words: Sequence[str], machines: Machines, tell: Callable[[str], None]) -> int:
    """Run ``luthier`` with ``words`` in every process of this machine; returns the exit code of the run.

    A first SIGINT or SIGTERM is handed on to all, and they stop at a whole checkpoint; a second one kills them.

    Args:
        words: what stands after ``luthier`` on the command line.
        machines: where the processes are.
        tell: is given a line about each process that was killed; what others have to say they say themselves.
    """
    places = list(machines.places())
    command = [sys.executable, "-m", "luthier", *words]
    running = [
        subprocess.Popen(command, env=environment_of_rank(place, machines.processes), start_new_session=True)  # noqa: S603
        for place in places
    ]
    try:
        with _handed_on(running):
            _watch(running)
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
            process.wait()
    codes = [process.returncode for process in running]
    for place, code in zip(places, codes, strict=True):
        if code < 0 and code not in (-signal.SIGTERM, -signal.SIGINT):
            hint = ": the machine may be short of memory" if code == -signal.SIGKILL else ""
            tell(f"rank {place.rank} was ended by {signal.Signals(-code).name}{hint}")
    return _code(codes)


def _watch(running: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended; once one has failed, see to it that the others do."""
    failed: float | None = None
    while any(process.poll() is None for process in running):
        if failed is None and any(process.poll() not in (None, 0) for process in running):
            failed = time.monotonic()
        if failed is not None and time.monotonic() - failed > GRACE:
            late = time.monotonic() - failed > 2 * GRACE
            for process in running:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL if late else signal.SIGTERM)
            time.sleep(1.0)
        time.sleep(0.05)


@contextmanager
def _handed_on(running: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    seen: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL if seen and number != signal.SIGUSR1 else number)
        if number != signal.SIGUSR1:
            seen.append(number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _code(codes: Sequence[int]) -> int:
    """One exit code for all: the first process's where it has one, else the others'."""
    ended = next((code for code in codes if code), 0)
    return ended if ended >= 0 else 128 - ended
