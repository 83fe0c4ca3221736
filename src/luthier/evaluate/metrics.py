"""Metrics of generated answers: (answer, reference) -> a number; the figure of a set is their mean."""

from __future__ import annotations

SHARES = ("exact_match", "bleu-4")
"""Metrics from 0 to 1, which people read in per cent; what is in per cent already is no such share."""


def exact_match(answer: str, reference: str) -> float:
    """1 when the answer is the reference to the letter, white space around both aside; else 0.

    >>> exact_match(" In the mill. ", "In the mill."), exact_match("in the mill", "In the mill.")
    (1.0, 0.0)
    """
    return float(answer.strip() == reference.strip())
