"""The perplexity: what a mean cross-entropy says of a language model, and of which runs it may be said."""

from __future__ import annotations

import math

LIKELIHOODS = ("pretrain", "sft")
"""Objectives whose evaluation loss is the mean negative log-likelihood of a token."""

LARGEST_LOSS = 700.0
"""Of what can still be raised to a power of e."""


def perplexity(loss: float) -> float:
    """How many tokens a model is undecided between, by its mean cross-entropy in nats.

    >>> round(perplexity(math.log(50)), 6), perplexity(math.inf)
    (50.0, inf)
    """
    return math.exp(loss) if not loss > LARGEST_LOSS else math.inf
