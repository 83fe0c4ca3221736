"""The real command in several real processes, as a launcher would start them, each forked as ``warm`` does it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from luthier.environment import World, environment_of_rank
from luthier.train.launch import free_port
from tests import warm

LONGEST = 600.0
"""Seconds after which a run is stopped."""


@dataclass(frozen=True)
class Ended:
    """What became of a run: the first exit code that is not 0, and what its processes said."""

    returncode: int
    stdout: str
    stderr: str
    codes: tuple[int, ...]


class Forked:
    """Starts runs of one process or several."""

    def __call__(
        self, *words: str | Path, cwd: Path, processes: int = 1, environments: Sequence[Mapping[str, str | None]] = ()
    ) -> Ended:
        """Run ``luthier`` with ``words`` in so many processes, each with variables of its own beside torchrun's, or
        without one of these (None)."""
        port = free_port()
        places = [World(rank, processes, rank, "127.0.0.1", port) for rank in range(processes)]
        plain = [environment_of_rank(place, processes) if processes > 1 else dict(os.environ) for place in places]
        more = [*environments, *({} for _ in range(processes - len(environments)))]
        running = [
            warm.Process(
                list(map(str, words)),
                cwd=cwd,
                env={name: value for name, value in {**one, **other}.items() if value is not None},
            )
            for one, other in zip(plain, more, strict=True)
        ]
        try:
            codes = tuple(process.wait(LONGEST) for process in running)
        finally:
            for process in running:
                process.kill()
        out, err = ("".join(process.said(stream) for process in running) for stream in ("out", "err"))
        return Ended(next((code for code in codes if code), 0), out, err, codes)
