"""The rates of DeepSpeed's own schedules, as its engine steps with them."""

from __future__ import annotations

import math

from luthier.recipe import Recipe
from luthier.train.schedule import warming
from luthier.train.whole_rates import Rate

FEWEST = 2
"""Steps of warm-up that DeepSpeed takes at least, whatever is asked for."""


def warmup_lr(recipe: Recipe, total: int, warm: int) -> Rate:
    """WarmupLR and WarmupDecayLR: warm-up, then the peak or, for the second, a straight line down to where warm-up
    began. The engine moves a schedule after its first step, whose rate is the one at step 0 too, so that every rate
    comes one step late."""
    schedule, peak, warm = recipe.schedule, recipe.optimizer.lr, max(FEWEST, warm)
    falls = schedule.kind == "warmup_decay_lr"

    def at(step: int) -> float:
        late = max(0, step - 1)
        if late < warm:
            return peak * warming(late, warm, schedule)
        left = max(0.0, (total - late) / max(1, total - warm)) if falls else 1.0
        return peak * (schedule.warmup_from + (1 - schedule.warmup_from) * left)

    return at


def warmup_cosine_lr(recipe: Recipe, total: int, warm: int) -> Rate:
    """WarmupCosineLR: warm-up one step late, before which the rate is 0, then half a wave down to the minimum, which is
    itself a step ahead and so in time."""
    schedule, peak, warm = recipe.schedule, recipe.optimizer.lr, max(FEWEST, warm)

    def at(step: int) -> float:
        if step == 0:
            return 0.0
        if step <= warm:
            return peak * warming(step - 1, warm, schedule)
        done = min(1.0, (step - warm) / max(1, total - warm))
        return peak * (schedule.minimum + (1 - schedule.minimum) * (1 + math.cos(math.pi * done)) / 2)

    return at
