"""The one place that looks at the process's environment."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path


def cache_folder() -> Path:
    """Luthier's cache: ``LUTHIER_CACHE``, else a folder in the user's cache directory."""
    named = os.environ.get("LUTHIER_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "luthier"


def threads() -> int:
    """CPU threads to compute with: ``OMP_NUM_THREADS`` where it is set, else one per core."""
    named = os.environ.get("OMP_NUM_THREADS", "")
    return int(named) if named.isdigit() and int(named) > 0 else cores()


def language() -> str:
    """The language to explain in: Chinese where ``LANG`` names it (``zh_CN.UTF-8``), else English."""
    return "zh" if os.environ.get("LANG", "").lower().startswith("zh") else "en"


def yield_idle_threads() -> None:
    """Let OpenMP threads spin only briefly while they wait, unless the user has said otherwise.

    Threads that spin for long, as they do of themselves, fight for the cores as soon as anything else runs; threads
    that sleep at once have to be woken for every small operation. The turns are libgomp's, some 0.1 to 0.2 ms; LLVM's
    and Intel's libraries count in whole milliseconds, and sleep at once. Has to be called before torch is imported.
    ``bench/threads.py`` measures it.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
        os.environ.update(GOMP_SPINCOUNT="5000", KMP_BLOCKTIME="0")


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_facts() -> str:
    """What Linux lists of the processors, a line each; empty elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


AMD, INTEL = "AuthenticAMD", "GenuineIntel"
"""What x86 processors say of their makers."""


def processor_vendor() -> str:
    """``AMD`` or ``INTEL``; empty where an x86 processor's maker is not known, or it is none."""
    told = processor_facts() or platform.processor()
    return next((name for name in (AMD, INTEL) if name in told), "")


@dataclass(frozen=True, slots=True)
class World:
    """One process's place among those that share a run; ``local`` counts within its machine."""

    rank: int = 0
    size: int = 1
    local: int = 0
    address: str = ""
    port: int = 0
    hosted: bool = False
    """Whether the launcher itself keeps the store at which the processes meet; else rank 0 does."""


def world() -> World:
    """The place that a launcher has given this process; alone where none has.

    torchrun, accelerate, DeepSpeed and ``luthier train --processes`` set ``RANK`` and its neighbours; Slurm's srun has
    names of its own, and the first node of the step is where the processes meet; so has mpirun, by which accelerate
    starts processes on CPUs, and which leaves the meeting to ``MASTER_ADDR``.
    """
    here = os.environ
    if "RANK" in here and "WORLD_SIZE" in here:
        return World(
            rank=int(here["RANK"]),
            size=int(here["WORLD_SIZE"]),
            local=int(here.get("LOCAL_RANK", "0")),
            address=here.get("MASTER_ADDR", "127.0.0.1"),
            port=int(here.get("MASTER_PORT", "29500")),
            hosted=here.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        )
    if int(here.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_PROCID" in here:
        nodes = here.get("SLURM_STEP_NODELIST") or here.get("SLURM_JOB_NODELIST", "127.0.0.1")
        return World(
            rank=int(here["SLURM_PROCID"]),
            size=int(here["SLURM_STEP_NUM_TASKS"]),
            local=int(here.get("SLURM_LOCALID", "0")),
            address=here.get("MASTER_ADDR") or first_node(nodes),
            port=int(here.get("MASTER_PORT") or 20_000 + int(here.get("SLURM_JOB_ID", "0")) % 20_000),
        )
    for rank, size, local in _MPI:
        if rank in here and int(here.get(size, "1")) > 1:
            return World(
                rank=int(here[rank]),
                size=int(here[size]),
                local=int(here.get(local, "0")),
                address=here.get("MASTER_ADDR") or "127.0.0.1",
                port=int(here.get("MASTER_PORT") or 29500),
            )
    return World()


_MPI = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
)
"""The place's names under Open MPI, MVAPICH, and MPICH with Intel's."""


def first_node(nodes: str) -> str:
    """The first host of a list as Slurm writes it.

    >>> first_node("gpu[03-05,9]-ib,login"), first_node("a1,a2")
    ('gpu03-ib', 'a1')
    """
    match = re.match(r"([^,\[]*)(?:\[([^\]]*)\])?([^,\[]*)", nodes)
    assert match is not None, "the pattern matches anything"
    before, numbers, after = match.groups()
    return before + re.split(r"[,-]", numbers or "")[0] + after


def secret_values() -> list[str]:
    """The secrets that stand in the environment, by the names of their variables."""
    return [value for name, value in os.environ.items() if _SECRET.search(name)]


_SECRET = re.compile(r"(?:^|_)(?:TOKEN|KEY|SECRET|PASSWORD|PASSWD)$")


def hub_endpoint() -> str | None:
    """Where the hub is, if not at its usual address: the setting of the hub's own library."""
    return os.environ.get("HF_ENDPOINT") or None


def hub_token() -> str | None:
    """The user's token for the hub, from the environment or from where the hub's own library keeps it."""
    from huggingface_hub import get_token

    return get_token()


def cxx() -> str:
    """The C++ compiler that PyTorch builds with."""
    return os.environ.get("CXX") or "g++"


def processes() -> int:
    """How many processes share this run."""
    return world().size


def environment_of_rank(place: World, machine: int) -> dict[str, str]:
    """The environment of a process that is to take a place, under the names that torchrun gives; ``machine`` processes
    share the cores of this machine."""
    return {
        **os.environ,
        "RANK": str(place.rank),
        "WORLD_SIZE": str(place.size),
        "LOCAL_RANK": str(place.local),
        "LOCAL_WORLD_SIZE": str(machine),
        "MASTER_ADDR": place.address,
        "MASTER_PORT": str(place.port),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(max(1, cores() // machine)),
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
    }


def take_place(place: World) -> None:
    """Give libraries that read it themselves (DeepSpeed) the place under torchrun's names."""
    for name, value in (
        ("RANK", place.rank),
        ("WORLD_SIZE", place.size),
        ("LOCAL_RANK", place.local),
        ("MASTER_ADDR", place.address),
        ("MASTER_PORT", place.port),
    ):
        os.environ[name] = str(value)


def choose_deepspeed_device(device: str) -> None:
    """Tell DeepSpeed which accelerator to use: it would else look for one, and warn where there is none."""
    os.environ.setdefault("DS_ACCELERATOR", device)
