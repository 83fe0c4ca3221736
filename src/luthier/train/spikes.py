"""Losses far above those of the steps before."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

WINDOW, FEWEST, NEAR = 64, 16, 8
"""Steps that a loss is compared with, at most and at least, and those before it that say where it should lie."""

FAR, SHARE = 6.0, 1.2
"""A spike is this many standard deviations above the median of those, and this many times as large."""


@dataclass(slots=True)
class Spikes:
    """The latest losses; ``losses`` is what a checkpoint keeps."""

    losses: list[float] = field(default_factory=list)

    def is_spike(self, loss: float) -> bool:
        """Whether a loss stands out; it then joins the others.

        The spread is the median of the steps from one loss to the next times 1.4826 / sqrt(2), which is the standard
        deviation of normal numbers (Rousseeuw & Croux 1993), which a few earlier spikes do not move, and which a loss
        that falls does not widen by its fall.
        """
        found = False
        if len(self.losses) >= FEWEST:
            centre = median(self.losses[-NEAR:])
            spread = 1.4826 / math.sqrt(2) * median([abs(after - before) for before, after in pairwise(self.losses)])
            found = loss > centre + FAR * spread and loss > SHARE * centre
        self.losses.append(loss)
        del self.losses[:-WINDOW]
        return found
