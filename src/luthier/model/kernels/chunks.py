"""How many tokens' logits a loss in chunks holds at once; torch is not needed to know it."""

from __future__ import annotations

ELEMENTS = {"cpu": 1 << 23, "cuda": 1 << 26}
"""Logits held at once, by device: few enough to matter nowhere, many enough for matrix products at full speed."""

LEAST_ROWS = 128
"""Tokens of a chunk however large the vocabulary is: fewer make matrix products slow."""


def chunk_rows(vocabulary: int, device: str) -> int:
    """Tokens of a chunk.

    >>> chunk_rows(8_000, "cpu"), chunk_rows(128_000, "cpu")
    (1048, 128)
    """
    return max(LEAST_ROWS, ELEMENTS.get(device, 1 << 24) // vocabulary)
