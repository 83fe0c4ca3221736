"""An optimiser's own constants, which command lines and many files write as text."""

from __future__ import annotations

import json
from typing import Any

from luthier.recipe.optimizer import Optimizer


def own(optimizer: Optimizer, **defaults: Any) -> dict[str, Any]:
    """``optimizer.args`` over ``defaults``, with numbers and switches read from text.

    >>> own(Optimizer(args={"momentum": "0.9", "nesterov": "True", "proj": "random"}), momentum=0.0, rank=8)
    {'momentum': 0.9, 'rank': 8, 'nesterov': True, 'proj': 'random'}
    """
    return defaults | {name: _value(value) for name, value in optimizer.args.items() if name != "target_modules"}


def adam(optimizer: Optimizer) -> dict[str, Any]:
    """The rate, betas and epsilon as Adam's descendants take them."""
    return {
        "lr": optimizer.lr,
        "betas": (optimizer.beta1, optimizer.beta2),
        "eps": optimizer.epsilon,
    }


WORDS = {"true": True, "false": False, "none": None}


def _value(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.lower() in WORDS:
        return WORDS[value.lower()]
    try:
        return json.loads(value)
    except ValueError:
        return value
