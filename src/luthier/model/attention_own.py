"""The attention that transformers itself has for a model: what fills a cache, and what a model says without Luthier."""

from __future__ import annotations

from typing import Any


def own_attention(model: Any) -> str:
    """transformers' name of the fastest one that computes all that a model, adapters included, needs of it: PyTorch's
    kernel has no soft cap on scores and no sinks, and a class whose attention has them says so.

    It is what transformers opens a model with when no implementation is named.
    """
    return "sdpa" if model._supports_sdpa else "eager"
