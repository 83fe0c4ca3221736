"""The batch script that trains a recipe in a Slurm allocation, which starts the processes; they find one another."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from luthier.errors import RunError

PLAIN = re.compile(r"[\w.,:@+/=-]+")
"""What a directive may hold: nothing that a shell, or a further line of the script, could make anything of."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked of Slurm; ``gpus`` are those of each machine, ``cpus`` the cores of each process, ``grace`` seconds
    before the time limit at which the run is told to save and stop."""

    processes: int
    nodes: int = 1
    gpus: int = 0
    cpus: int | None = None
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    grace: int = 300


def script(words: Sequence[str], job: Job) -> str:
    """The script that runs ``luthier train`` with ``words``.

    Raises:
        RunError: a value holds characters that have no business in a directive.
    """
    asked: dict[str, object] = {
        "job-name": "luthier",
        "nodes": job.nodes,
        "ntasks-per-node": job.processes,
        "cpus-per-task": job.cpus,
        "gpus-per-node": job.gpus or None,
        "time": job.time,
        "partition": job.partition,
        "account": job.account,
        "signal": f"TERM@{job.grace}" if job.grace else None,
        "output": "%x-%j.out",
    }
    for name, value in asked.items():
        if name != "output" and value is not None and not PLAIN.fullmatch(str(value)):
            raise RunError(f"{value!r} is no value for a directive", place=f"--{name}", remedy="write a plain word")
    directives = "".join(f"#SBATCH --{name}={value}\n" for name, value in asked.items() if value is not None)
    # A process that fails takes the others with it, and the cores of the allocation are the step's too.
    call = ["srun", "--kill-on-bad-exit=1", *([f"--cpus-per-task={job.cpus}"] if job.cpus else [])]
    command = shlex.join([*call, sys.executable, "-m", "luthier", "train", *words])
    return f"#!/bin/bash\n{directives}\nset -eu\nexec {command}\n"
