"""A Slurm cluster on this machine alone: its real daemons, for as long as a test asks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from luthier.train.launch import free_port

DAEMONS = ("slurmctld", "slurmd", "sbatch", "srun")

_CONFIGURATION = """
ClusterName=luthier
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
FirstJobId={first}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
KillWait=90
NodeName={nodes} NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports}] CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> list[str]:
    """What is not installed of it, or who may not start it."""
    return [name for name in DAEMONS if not shutil.which(name)] or ([] if os.geteuid() == 0 else ["root's rights"])


class Cluster:
    """Where commands of Slurm find it, and what became of jobs."""

    def __init__(self, root: Path) -> None:
        self.configuration = root / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """The test's own variables of this moment, without another allocation's."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "MASTER"))}
        return {**plain, "SLURM_CONF": str(self.configuration)}

    def call(self, *words: str | Path, cwd: Path | None = None) -> str:
        """What a command says."""
        done = subprocess.run(words, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, script: Path) -> str:
        """The number of the job that a script becomes."""
        return self.call("sbatch", "--parsable", script, cwd=script.parent).strip()

    def state(self, job: str) -> dict[str, str]:
        """What the controller knows of a job."""
        words = self.call("scontrol", "--oneliner", "show", "job", job).split()
        return dict(word.partition("=")[::2] for word in words)

    def ended(self, job: str, timeout: float = 240) -> dict[str, str]:
        """What the controller knows of a job once it has ended."""
        end = time.monotonic() + timeout
        while (known := self.state(job))["JobState"] in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"):
            assert time.monotonic() < end, known
            time.sleep(0.3)
        return known


@contextmanager
def cluster(root: Path) -> Iterator[Cluster]:
    """Two nodes of two processors each, both of them this machine, whose addresses are their names."""
    host = socket.gethostname()
    (root / "state").mkdir(parents=True)
    names = ("127.0.0.1", "127.0.0.2")
    text = _CONFIGURATION.format(
        host=host,
        root=root,
        controller=free_port(),
        first=free_port(),
        nodes=",".join(names),
        ports=",".join(str(free_port()) for _ in names),
    )
    (root / "slurm.conf").write_text(text, encoding="utf-8")
    made = Cluster(root)
    daemons = [
        subprocess.Popen([*words, "-D"], env=made.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for words in (["slurmctld", "-c"], *(["slurmd", "-N", name] for name in names))
    ]
    try:
        end = time.monotonic() + 30
        while True:
            with suppress(AssertionError):
                if made.call("sinfo", "--noheader", "--format=%T").split() == ["idle"]:
                    break
            assert time.monotonic() < end, (root / "slurmctld.log").read_text()
            time.sleep(0.3)
        yield made
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)
