"""What a run stands on: versions, processor, memory, device."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import luthier
from luthier.environment import cores, processor_facts

PACKAGES = ("torch", "transformers", "peft", "tokenizers", "datasets", "safetensors", "bitsandbytes", "deepspeed")
"""Packages whose versions change results; those that are not installed are left out."""


def surroundings(device: torch.device) -> dict[str, Any]:
    """Name -> value of what the results of a run depend on, as far as this machine tells it."""
    told: dict[str, Any] = {"luthier": luthier.__version__, "python": platform.python_version()}
    told |= {name: found for name in PACKAGES if (found := _version(name))}
    told |= {"platform": platform.platform(), "processor": _processor(), "cores": cores()}
    told |= {"threads": torch.get_num_threads(), "memory": _memory()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        told |= {"gpu": {"name": properties.name, "memory": properties.total_memory, "cuda": torch.version.cuda}}
    return {name: value for name, value in told.items() if value}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    """The processor's own name for itself on Linux, else what Python knows."""
    lines = processor_facts().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def _memory() -> int:
    """Bytes of memory that the machine has; 0 where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
