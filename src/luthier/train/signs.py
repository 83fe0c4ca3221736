"""What the processes of a run tell of themselves in a store that all of them see.

Each says how far it has come, so that when one dies or hangs the others can say which, and where.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from luthier.errors import Fault, LuthierError, RunError
from luthier.train.launch import LAST_WORD

PATIENCE = 4.0
"""Seconds to wait for the others' words once an exchange has failed."""


class Lost(RunError):
    """An exchange failed since another process died or hangs; the fault is that one's."""


@dataclass(slots=True)
class Signs:
    """Those of this process, ``index`` among ``count``, and what it hears of the others; one alone needs no store."""

    index: int = 0
    count: int = 1
    store: Any = None
    timeout: float = 1800.0
    """Seconds to wait for a process that gives no sign of life."""
    _place: str = field(default="the start", init=False)

    def reach(self, place: str) -> None:
        """Note how far this process is, for the others to tell should it come no further."""
        self._place = place
        if self.count > 1:
            self._tell_place()

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Within: the others are told that this process goes on, as long as it uses its processor."""
        over = threading.Event()

        def tell() -> None:
            before = time.process_time()
            while not over.wait(pause):
                used, before = time.process_time() - before, time.process_time()
                if used > pause / 50:
                    with suppress(RuntimeError, ValueError):
                        self._tell_place()

        pause = min(30.0, self.timeout / 5)
        thread = threading.Thread(target=tell, name="alive", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def done(self, name: str) -> None:
        """Tell the others, who await it, that process 0 has done something."""
        self.store.set(f"done/{name}", "1")

    def await_first(self, name: str) -> None:
        """Wait until process 0 has ``done`` something: as long as it takes, but no longer than ``timeout`` for one
        that does not compute.

        Raises:
            Lost: process 0 failed, or hangs.
        """
        key, heard, since = f"done/{name}", b"", time.monotonic()
        while not self.store.check([key]):
            if self.store.check(["fault/0"]):
                raise self.blame()
            now = self.store.get("place/0") if self.store.check(["place/0"]) else b""
            if now != heard:
                heard, since = now, time.monotonic()
            elif time.monotonic() - since > self.timeout:
                raise self.blame()
            time.sleep(0.1)

    def part(self) -> None:
        """Say goodbye. Process 0 keeps what they tell one another, and waits until each of them has heard its last
        word, or for PATIENCE seconds."""
        if self.count == 1:
            return
        with suppress(RuntimeError, ValueError):
            self.store.set(f"parted/{self.index}", "1")
            end = time.monotonic() + PATIENCE
            everyone = [f"parted/{index}" for index in range(self.count)]
            while self.index == 0 and not self.store.check(everyone) and time.monotonic() < end:
                time.sleep(0.02)

    def failed(self, error: BaseException) -> bool:
        """Tell the others why this process stops; returns whether it is the one to tell the user.

        Process 0 tells what all have in common and what the others told it; another one what is its own, and one that
        has nothing to tell leaves it time to.
        """
        tells = self._tells(error)
        if not tells:
            time.sleep(LAST_WORD)
        return tells

    def _tell_place(self) -> None:
        self.store.set(f"place/{self.index}", json.dumps([self._place, time.time()]))

    def _tells(self, error: BaseException) -> bool:
        if self.count == 1:
            return self.index == 0
        told = [[f.reason, f.place, f.remedy] for f in faults_of(error)]
        key = "lost" if isinstance(error, Lost) else "fault"
        try:
            self.store.set(f"{key}/{self.index}", json.dumps(told))
            if self.index == 0 or isinstance(error, Lost):
                return self.index == 0
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                if self.store.check(["fault/0"]):
                    return bool(json.loads(self.store.get("fault/0")) != told)
                if self.store.check(["lost/0"]):
                    return False
                time.sleep(0.1)
        except (RuntimeError, ValueError):
            return not isinstance(error, Lost)
        return True

    def blame(self) -> Lost:
        """Who is at fault: whoever told a fault of its own, else whoever says nothing any more."""
        others = [one for one in range(self.count) if one != self.index]
        try:
            self.store.set(f"lost/{self.index}", "[]")
            end = time.monotonic() + PATIENCE
            silent = others
            while silent and time.monotonic() < end:
                silent = [one for one in silent if not self._spoke(one)]
                time.sleep(0.05)
            told = [one for one in others if self.store.check([f"fault/{one}"])]
            if told:
                faults = json.loads(self.store.get(f"fault/{told[0]}"))
                return Lost(*(Fault(f"rank {told[0]}: {reason}", place, remedy) for reason, place, remedy in faults))
            faults = [self._silence(one) for one in silent]
        except (RuntimeError, ValueError):
            faults = []
        if faults:
            return Lost(*faults)
        gone = "rank 0, where the others meet, is gone" if self.index > 0 else "the processes lost one another"
        return Lost(
            gone, place=self._place, remedy="see what it said; the same command goes on from the last checkpoint"
        )

    def _spoke(self, rank: int) -> bool:
        return bool(self.store.check([f"lost/{rank}"]) or self.store.check([f"fault/{rank}"]))

    def _silence(self, rank: int) -> Fault:
        """What is known of a process that says nothing."""
        remedy = "see its machine (memory, processes); the same command goes on from the last checkpoint"
        if not self.store.check([f"place/{rank}"]):
            return Fault(f"rank {rank} died or hangs before it began", self._place, remedy)
        place, since = json.loads(self.store.get(f"place/{rank}"))
        ago = max(0.0, time.time() - float(since))
        return Fault(f"rank {rank} died or hangs: it was last heard of {ago:.0f} s ago at {place}", self._place, remedy)


def faults_of(error: BaseException) -> Sequence[Fault]:
    """What an error says, ours or not."""
    if isinstance(error, LuthierError):
        return error.faults
    return (Fault(f"{type(error).__name__}: {error}"),)
