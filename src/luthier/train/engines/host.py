"""What makes a CPU faster at training without changing what it computes."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

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
    settings = ((MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, 64 << 20))
    return all(mallopt(name, value) == 1 for name, value in settings)
