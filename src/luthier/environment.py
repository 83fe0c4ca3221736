"""The one place that looks at the process's environment."""

from __future__ import annotations

import os
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
    """Let OpenMP threads sleep rather than spin while they wait, unless the user has said otherwise.

    Spinning threads fight for the cores as soon as anything else runs: two processes of two threads each on two cores
    were measured to become eighty times slower. Has to be called before torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
