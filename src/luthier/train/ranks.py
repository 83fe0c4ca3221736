"""The processes that share a run, and how they agree: a few numbers and words a step.

They go over the CPU (gloo), whatever carries the gradients.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from luthier.train.signs import Signs

T = TypeVar("T")


@dataclass(slots=True)
class Ranks:
    """This process among ``count``; a run of one process waits for nobody."""

    index: int = 0
    count: int = 1
    local: int = 0
    control: Any = None
    """The group of the exchanges; None where there is one process."""
    signs: Signs = field(default_factory=Signs)

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
        with self.guarded():
            self.signs.reach(place)

    def after_first(self, name: str, work: Callable[[], T]) -> T:
        """Do something that may take long, process 0 before the others, which hold no exchange open meanwhile.

        They wait as long as it takes, but no longer than the run's timeout for a process 0 that does not compute.

        Raises:
            Lost: process 0 failed, or hangs.
        """
        if self.count == 1:
            return work()
        self.reach(name)
        if not self.first:
            with self.guarded():
                self.signs.await_first(name)
            return work()
        with self.signs.alive():
            done = work()
        self.signs.done(name)
        return done

    def part(self) -> None:
        """Part from the others once all is done, and each of them has heard process 0's last word."""
        self.signs.part()
        if dist.is_initialized():
            dist.destroy_process_group()

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
            raise self.signs.blame() from error


def is_broken_exchange(error: BaseException) -> bool:
    """Whether it was communication that failed; gloo says so in words only.

    >>> is_broken_exchange(RuntimeError("[gloo/transport/tcp/pair.cc:554] Connection closed by peer [127.0.0.1]:33"))
    True
    """
    if isinstance(error, dist.DistBackendError | dist.DistNetworkError | dist.DistStoreError):
        return True
    words = ("gloo", "Connection closed", "Connection reset", "Timed out waiting", "Broken pipe", "Application timeout")
    return type(error) is RuntimeError and any(word in str(error) for word in words)
