"""The processes that share a run: how they agree, wait for one another, and tell who is missing.

What they exchange here are a few numbers a step, on the CPU (gloo) whatever carries the gradients. A store beside it
holds how far each has come, so that when one dies or hangs the others can say which.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

from luthier.environment import World, take_place, world
from luthier.errors import Fault, LuthierError, RunError
from luthier.recipe import Recipe
from luthier.train.launch import LAST_WORD, free_port

T = TypeVar("T")

PATIENCE = 4.0
"""Seconds to wait for the others' words once an exchange has failed."""


class Lost(RunError):
    """An exchange failed since another process died or hangs; the fault is that one's."""


@dataclass(slots=True)
class Ranks:
    """This process among ``count``; a run of one process waits for nobody."""

    index: int = 0
    count: int = 1
    local: int = 0
    store: Any = None
    control: Any = None
    timeout: float = 1800.0
    """Seconds to wait for a process that gives no sign of life."""
    _place: str = field(default="the start")

    @property
    def first(self) -> bool:
        """Whether this is the one process that writes and talks."""
        return self.index == 0

    def share(self, items: Sequence[T]) -> list[tuple[int, T, bool]]:
        """This process's share of a step: (number, item, whether it counts). Item i is process i mod count's.

        Engines exchange weights and gradients within every item, so all processes have equally many; where there are
        too few, the step's first stands in once more and counts for nothing.
        """
        mine = [(number, items[number], True) for number in range(self.index, len(items), self.count)]
        short = -(-len(items) // self.count) - len(mine)
        return [*mine, *((0, items[0], False) for _ in range(short))]

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """Each number summed over all processes.

        Raises:
            Lost: another process died or hangs.
        """
        if self.count == 1:
            return list(numbers)
        with self.guarded():
            tensor = torch.tensor(numbers, dtype=torch.float64)
            dist.all_reduce(tensor, group=self.control)
        result: list[float] = tensor.tolist()
        return result

    def largest(self, number: int | None) -> int | None:
        """The largest number that any process has; None where none has one."""
        if self.count == 1:
            return number
        with self.guarded():
            tensor = torch.tensor([-1 if number is None else number])
            dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self.control)
        return None if int(tensor) < 0 else int(tensor)

    def told(self, value: T | None = None) -> T:
        """What process 0 says (plain values), to all of them."""
        if self.count == 1:
            return cast(T, value)
        with self.guarded():
            box = [json.dumps(value) if self.first else None]
            dist.broadcast_object_list(box, src=0, group=self.control)
        said: T = json.loads(str(box[0]))
        return said

    def all(self, value: T) -> list[T]:
        """What each process says (plain values), in their order."""
        if self.count == 1:
            return [value]
        with self.guarded():
            box: list[Any] = [None] * self.count
            dist.all_gather_object(box, json.dumps(value), group=self.control)
        return [json.loads(one) for one in box]

    def gathered(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Every process's tensor, of equal shapes, in their order."""
        if self.count == 1:
            return [tensor]
        with self.guarded():
            found = [torch.empty_like(tensor) for _ in range(self.count)]
            dist.all_gather(found, tensor, group=self.control)
        return found

    def together(self, place: str) -> None:
        """Wait until all have come to ``place``."""
        self.reach(place)
        self.sums([0.0])

    def reach(self, place: str) -> None:
        """Note how far this process is, for the others to tell should it come no further."""
        self._place = place
        if self.count > 1:
            with self.guarded():
                self.store.set(f"place/{self.index}", json.dumps([place, time.time()]))

    def after_first(self, name: str, work: Callable[[], T]) -> T:
        """Do something that may take long, process 0 before the others, which hold no exchange open meanwhile.

        They wait as long as it takes, but no longer than ``timeout`` for a process 0 that does not compute.

        Raises:
            Lost: process 0 failed, or hangs.
        """
        if self.count == 1:
            return work()
        self.reach(name)
        if not self.first:
            self._await_first(f"done/{name}")
            return work()
        with self._alive():
            done = work()
        self.store.set(f"done/{name}", "1")
        return done

    def part(self) -> None:
        """Part from the others once all is done. Process 0 keeps what they tell one another, and waits until each of
        them has heard its last word, or for PATIENCE seconds."""
        if self.count > 1:
            with suppress(RuntimeError, ValueError):
                self.store.set(f"parted/{self.index}", "1")
                end = time.monotonic() + PATIENCE
                everyone = [f"parted/{index}" for index in range(self.count)]
                while self.first and not self.store.check(everyone) and time.monotonic() < end:
                    time.sleep(0.02)
        if dist.is_initialized():
            dist.destroy_process_group()

    def _await_first(self, key: str) -> None:
        heard, since = b"", time.monotonic()
        with self.guarded():
            while not self.store.check([key]):
                if self.store.check(["fault/0"]):
                    raise self._blame()
                now = self.store.get("place/0") if self.store.check(["place/0"]) else b""
                if now != heard:
                    heard, since = now, time.monotonic()
                elif time.monotonic() - since > self.timeout:
                    raise self._blame()
                time.sleep(0.1)

    @contextmanager
    def _alive(self) -> Iterator[None]:
        """Within: the others are told that this process goes on, as long as it uses its processor."""
        over = threading.Event()

        def tell() -> None:
            before = time.process_time()
            while not over.wait(pause):
                used, before = time.process_time() - before, time.process_time()
                if used > pause / 50:
                    with suppress(RuntimeError, ValueError):
                        self.store.set(f"place/{self.index}", json.dumps([self._place, time.time()]))

        pause = min(30.0, self.timeout / 5)
        thread = threading.Thread(target=tell, name="alive", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Within: an exchange, of ours or of an engine; a failure of it names the process at fault.

        Raises:
            Lost: another process died or hangs.
        """
        try:
            yield
        except (RuntimeError, ValueError) as error:
            if self.count == 1 or not is_broken_exchange(error):
                raise
            raise self._blame() from error

    def failed(self, error: BaseException) -> bool:
        """Tell the others why this process stops; returns whether it is the one to tell the user.

        Process 0 tells what all have in common and what the others told it; another one what is its own, and one that
        has nothing to tell leaves it time to.
        """
        tells = self._tells(error)
        if not tells:
            time.sleep(LAST_WORD)
        return tells

    def _tells(self, error: BaseException) -> bool:
        if self.count == 1 or self.store is None:
            return self.first
        told = [[f.reason, f.place, f.remedy] for f in faults_of(error)]
        key = "lost" if isinstance(error, Lost) else "fault"
        try:
            self.store.set(f"{key}/{self.index}", json.dumps(told))
            if self.first or isinstance(error, Lost):
                return self.first
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

    def _blame(self) -> Lost:
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
        gone = "rank 0, where the others meet, is gone" if not self.first else "the processes lost one another"
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


def is_broken_exchange(error: BaseException) -> bool:
    """Whether it was communication that failed; gloo says so in words only.

    >>> is_broken_exchange(RuntimeError("[gloo/transport/tcp/pair.cc:554] Connection closed by peer [127.0.0.1]:33"))
    True
    """
    if isinstance(error, dist.DistBackendError | dist.DistNetworkError | dist.DistStoreError):
        return True
    words = ("gloo", "Connection closed", "Connection reset", "Timed out waiting", "Broken pipe", "Application timeout")
    return type(error) is RuntimeError and any(word in str(error) for word in words)


def join(recipe: Recipe, place: World | None = None, *, alone: bool = True) -> Ranks:
    """Meet the other processes of this run, those that a launcher has started.

    ``alone``: a single process needs no meeting; an engine that shards asks for one all the same.

    Raises:
        RunError: they do not come within ``parallel.timeout``, or the backend is not there.
    """
    place = place or world()
    if place.size == 1 and alone:
        return Ranks()
    if place.size == 1:
        place = World(address="127.0.0.1", port=free_port())
    take_place(place)
    wait = timedelta(seconds=recipe.parallel.timeout)
    on_gpu = recipe.runtime.device != "cpu" and torch.cuda.is_available()
    backend = recipe.parallel.backend or ("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    if on_gpu:
        torch.cuda.set_device(place.local)
    try:
        store = TCPStore(place.address, place.port, place.size, place.rank == 0 and not place.hosted, timeout=wait)
        dist.init_process_group(
            backend, store=PrefixStore("group", store), rank=place.rank, world_size=place.size, timeout=wait
        )
        control = dist.new_group(backend="gloo", timeout=wait)
    except (RuntimeError, ValueError) as error:
        raise RunError(
            f"rank {place.rank} of {place.size} does not find the others at {place.address}:{place.port}: "
            f"{str(error).splitlines()[0]}",
            place="parallel",
            remedy="see that all are started, that the address can be reached, and parallel.backend is one torch has",
        ) from error
    own = PrefixStore("luthier", store)
    own.set_timeout(timedelta(seconds=PATIENCE))
    return Ranks(place.rank, place.size, place.local, own, control, recipe.parallel.timeout)
