"""Floating-point operations of a run, and the time they take.

A matrix product costs 2 operations per weight and token forward, and as much again for each of the two gradients
(Kaplan et al. 2020, section 2.1). Attention over a causal context of c tokens adds 2 x 2 x c / 2 x heads x head size.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path

from luthier.data.cache import content_key
from luthier.environment import cache_folder, cores
from luthier.model.shape import Shape
from luthier.plan.parameters import trainable_parameters
from luthier.recipe import Recipe

ASSUMED = {"cpu": 3e10, "cuda": 1e14}
"""Useful operations per second per device (per core on a CPU) before anything has been measured here."""


def operations(recipe: Recipe, shape: Shape, tokens: int, targets: int, squared: float) -> float:
    """Operations of one pass over data with ``tokens`` tokens, ``targets`` trained ones, and ``squared`` = the sum of
    the documents' squared lengths."""
    output = shape.vocabulary * shape.hidden
    inner = sum(rows * columns for rows, columns in shape.linear().values())
    forward = 2.0 * inner * tokens + 2.0 * output * targets
    forward += 2.0 * squared * shape.heads * shape.head_size * shape.layers
    frozen = recipe.adapter.kind != "none"
    passes = (2.0 if frozen else 3.0) + (1.0 if recipe.runtime.gradient_checkpointing else 0.0)
    extra = 6.0 * trainable_parameters(recipe, shape) * tokens if frozen else 0.0
    return forward * passes + extra


def speed(device: str, compute: str) -> tuple[float, bool]:
    """(useful operations per second of this machine, whether they were measured by an earlier run here)."""
    try:
        measured = json.loads(_speed_file(device, compute).read_text(encoding="utf-8"))
        return float(measured["operations_per_second"]), True
    except (OSError, ValueError, KeyError):
        return ASSUMED[device] * (cores() if device == "cpu" else 1), False


def remember_speed(device: str, compute: str, operations_per_second: float) -> None:
    """Keep what a run measured, for later plans; a cache that cannot be written is no error."""
    path = _speed_file(device, compute)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"operations_per_second": operations_per_second}), encoding="utf-8")
    except OSError:
        return


def _speed_file(device: str, compute: str) -> Path:
    key = content_key(
        [], [platform.machine(), platform.processor()], {"device": device, "compute": compute, "cores": cores()}
    )
    return cache_folder() / "speed" / f"{key[:16]}.json"


def device_here(wanted: str) -> str:
    """The device that runtime.device leads to, told without torch from the driver's own files."""
    if wanted != "auto":
        return wanted
    return "cuda" if Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists() else "cpu"


def compute_here(wanted: str, device: str) -> str:
    """The compute type that precision.compute leads to, told without torch."""
    if device == "cuda":
        return "bf16" if wanted == "auto" else wanted
    if wanted in ("auto", "fp16"):
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
        return "bf16" if "avx512_bf16" in flags or "amx_tile" in flags else "fp32"
    return wanted
