"""When recurring things are due: a pure function of the step."""

from __future__ import annotations

from collections.abc import Callable


def due(every: int | float | str, total: int, steps_per_epoch: int, delay: float = 0.0) -> Callable[[int], bool]:
    """Whether something that recurs ``every`` so often is due after a step (1-based).

    A share s of the run is due at the rounded-up multiples of s * total, as transformers rounds it. ``delay`` counts in
    epochs when every is 'epoch', else in steps.
    """
    if every == "never":
        return lambda step: False
    if every == "epoch":
        return lambda step: step % steps_per_epoch == 0 and step / steps_per_epoch > delay
    share = float(every)
    interval = every if isinstance(every, int) else max(1, -(-round(share * total * 1_000_000) // 1_000_000))
    return lambda step: step % interval == 0 and step > delay
