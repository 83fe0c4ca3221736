"""The batch script that trains a recipe in a Slurm allocation, which starts the processes; they find one another."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from luthier.errors import RunError
from luthier.redaction import is_secret, redacted

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
        RunError: a value holds characters that have no business in a directive, or a word holds a secret.
    """
    _refuse_secrets(words)
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


def _refuse_secrets(words: Sequence[str]) -> None:
    """A script lies about on disk and in the scheduler's records, so no secret may stand in it."""
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        key = name.lstrip("-").replace("-", "_")
        given = value if equals else following if name.startswith("--") and not following.startswith("--") else ""
        if (given and is_secret(key)) or redacted(word) != word:
            shown = redacted(name) if redacted(name) == name else "a word"
            remedy = "leave it out, and set it in the environment of the job (HF_TOKEN, WANDB_API_KEY)"
            raise RunError("would write a secret into the script", place=shown, remedy=remedy)
