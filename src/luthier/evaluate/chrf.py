"""chrF: how much of the reference's runs of characters an answer has (Popović 2015), in per cent."""

from __future__ import annotations

from collections import Counter

ORDER = 6
"""Longest run of characters."""

BETA = 2.0
"""How many times as much recall counts as precision."""


def chrf(answer: str, reference: str) -> float:
    """The F-measure of the mean precision and the mean recall of runs of 1 to 6 characters, white space left out.

    Lengths of which either text has no run are left out of the means, as the reference implementation does.

    >>> round(chrf("the mill", "the old mill"), 2), chrf("", "a")
    (31.71, 0.0)
    """
    said, wanted = ("".join(text.split()) for text in (answer, reference))
    orders = range(1, min(ORDER, len(said), len(wanted)) + 1)
    pairs = [(_runs(said, order), _runs(wanted, order)) for order in orders]
    if not pairs:
        return 0.0
    shared = [(said & wanted).total() for said, wanted in pairs]
    precision = sum(both / said.total() for both, (said, _) in zip(shared, pairs, strict=True)) / len(pairs)
    recall = sum(both / wanted.total() for both, (_, wanted) in zip(shared, pairs, strict=True)) / len(pairs)
    if not precision + recall:
        return 0.0
    return 100.0 * (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


def _runs(text: str, order: int) -> Counter[str]:
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))
