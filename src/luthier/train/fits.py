"""Running out of memory: how it is told, and what smaller micro-batches of the same step are."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from luthier.data.pack import Item

SAID = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc")
"""What allocators say that have no exception of their own."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on a GPU or in the process."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(one in str(error) for one in SAID)


def divided(micros: Sequence[list[Item]], parts: int) -> list[list[Item]]:
    """Each micro-batch in up to so many parts, none of them empty: the same step, since its sum is divided once.

    >>> divided([[1, 2, 3], [4]], 2)
    [[1], [2, 3], [4]]
    """
    if parts == 1:
        return list(micros)
    cut = [
        micro[len(micro) * part // parts : len(micro) * (part + 1) // parts]
        for micro in micros
        for part in range(parts)
    ]
    return [part for part in cut if part]
