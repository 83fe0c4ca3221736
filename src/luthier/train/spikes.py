"""Losses far above those of the steps before."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

WINDOW, FEWEST = 64, 16
"""Steps that a loss is compared with, at most and at least."""

FAR, SHARE = 6.0, 1.2
"""A spike is this many standard deviations above the median, and this many times as large."""


@dataclass(slots=True)
class Spikes:
    """The latest losses; ``losses`` is what a checkpoint keeps."""

    losses: list[float] = field(default_factory=list)

    def is_spike(self, loss: float) -> bool:
        """Whether a loss stands out; it then joins the others.

        Centre and spread are the median and the median absolute deviation times 1.4826, which is the standard deviation
        of normal numbers and which a few earlier spikes do not move (Rousseeuw & Croux 1993).
        """
        found = False
        if len(self.losses) >= FEWEST:
            centre = median(self.losses)
            spread = 1.4826 * median([abs(one - centre) for one in self.losses])
            found = loss > centre + FAR * spread and loss > SHARE * centre
        self.losses.append(loss)
        del self.losses[:-WINDOW]
        return found
