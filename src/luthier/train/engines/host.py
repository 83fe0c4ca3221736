"""What makes a CPU faster at training without changing what it computes."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

import torch

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
"""glibc's numbers of its settings (mallopt(3))."""


@cache
def keep_pages() -> bool:
    """Let freed memory stay with the process, so that a step's tensors find pages that are there already.

    glibc gives large blocks back at once, and the kernel fills new ones with zeros: ten thousand page faults a step of
    a small model. Returns whether there is such a setting here.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 64 << 20))
    return all(mallopt(name, value) == 1 for name, value in settings)


@cache
def use_onednn_in_fp32() -> bool:
    """Let oneDNN multiply fp32 matrices where that is exact: on AMD processors it is twice as fast as MKL.

    PyTorch gives oneDNN such products only when they may be rounded to bf16, which oneDNN does on AMX alone. Where
    there is AMX, or a product turns out less exact than fp32 is, nothing is changed. Returns whether it is in use.
    """
    onednn: Any = torch.backends.mkldnn
    settings = onednn.matmul
    if torch.cpu._is_amx_tile_supported() or not onednn.is_available():
        return False
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    if all(_exact(*shape) for shape in ((64, 256, 64), (512, 512, 384), (300, 1000, 77))):
        return True
    settings.fp32_precision = before
    return False


def _exact(rows: int, inner: int, columns: int) -> bool:
    """Whether a product of this shape has fp32's error, some 1e-6; that of bf16 is some 1e-3."""
    chance = torch.Generator().manual_seed(0)
    a, b = torch.randn(rows, inner, generator=chance), torch.randn(columns, inner, generator=chance)
    exact = a.double() @ b.double().T
    return float(((a @ b.T).double() - exact).norm() / exact.norm()) < 1e-5
