"""Patterns of ranks and alphas that mean the same in any order. No torch.

The first one that ends a layer's name holds (PEFT), and PEFT saves them in the order of their characters.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value", int, float)


def first_of(patterns: Iterable[str], layer: str) -> str | None:
    """The first pattern that ends a layer's name, as PEFT matches.

    >>> first_of(["k_proj", "attn.*"], "model.layers.0.attn.q_proj")
    'attn.*'
    """
    return next((pattern for pattern in patterns if re.match(rf"(.*\.)?({pattern})$", layer)), None)


def in_any_order(patterns: Mapping[str, Value], layers: Collection[str]) -> dict[str, Value]:
    """The patterns, or each layer's whole name in their place where those that overlap would change places once saved.

    >>> in_any_order({"0.q": 2, ".*": 4}, ["h.0.q", "h.0.k"])
    {'h.0.q': 2, 'h.0.k': 4}
    >>> in_any_order({"q": 2, "k": 4}, ["h.0.q", "h.0.k"])
    {'q': 2, 'k': 4}
    """
    own = {layer: patterns[first] for layer in layers if (first := first_of(patterns, layer)) is not None}
    saved = sorted(patterns)
    if all(patterns[first_of(saved, layer) or ""] == value for layer, value in own.items()):
        return dict(patterns)
    return own
