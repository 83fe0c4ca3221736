"""Whether two models say the same: their logits on the same ids, one model in memory at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from luthier.errors import ModelError
from luthier.model.weights import Weights

TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference of logits, relative to their size (norms over the probes), by the type of the written weights:
some times that type's unit roundoff of 6e-8, 5e-4 and 4e-3."""

PROBES = (2, 48)
"""Texts and tokens of each that the logits are compared on."""


def probes(vocabulary: int, rows: set[int]) -> torch.Tensor:
    """Token ids to compare on, the same each time; tokens with rows of their own are among them."""
    ids = torch.randint(vocabulary, PROBES, generator=torch.Generator().manual_seed(0))
    own = torch.tensor(sorted(rows)[: PROBES[1] // 2], dtype=torch.long)
    ids[0, : len(own)] = own
    return ids


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """A model's logits [texts, tokens, vocabulary] in fp32."""
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=ids, use_cache=False).logits.float()
    return found


def distance(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """How far one tensor is from another, relative to the other's norm."""
    return float((found - wanted).norm()) / float(wanted.norm())


def judge(error: float, kind: torch.dtype, place: str, *, remedy: str, effect: float | None = None) -> None:
    """Let a written model pass, or not.

    Args:
        error: distance of its logits from those that it should have.
        kind: the narrowest type of its weights.
        effect: how far an adapter moves the logits of its base, where there is one.

    Raises:
        ModelError: the logits are further away than rounding explains, or so far that rounding drowns the adapter.
    """
    narrow = "" if kind is torch.float32 else "; --dtype fp32 rounds nothing"
    told = f"the written logits are {error:.1e} of their size away from the model's"
    if not error <= TOLERANCE.get(kind, 0.0):
        raise ModelError(
            f"{told}, more than rounding to {str(kind).removeprefix('torch.')} explains: nothing was kept",
            place=place,
            remedy=f"{remedy}{narrow}",
        )
    if effect is not None and error > max(effect / 2, 1e-6):
        raise ModelError(
            f"{told}, and the adapter itself moves them by {effect:.1e} only, so that rounding would drown it",
            place=place,
            remedy=f"keep the adapter apart{narrow}",
        )


def fits_in_fp32(directory: Path) -> bool:
    """Whether the model in fp32 takes less than half of the machine's memory."""
    numbers = sum(torch.Size(size).numel() for size, _ in Weights(directory).types().values())
    return 4 * numbers < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
