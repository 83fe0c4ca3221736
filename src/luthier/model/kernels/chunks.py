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


KEPT = {"cpu": 1 << 26, "cuda": 1 << 28}
"""Logits up to which log-probabilities keep them for the backward pass; of more, each chunk's are made again."""


def keeps_logits(tokens: int, vocabulary: int, device: str) -> bool:
    """Whether log-probabilities of so many tokens keep their logits.

    >>> keeps_logits(1_000, 32_000, "cpu"), keeps_logits(10_000, 32_000, "cpu")
    (True, False)
    """
    return tokens * vocabulary <= KEPT.get(device, 1 << 26)


def even_rows(tokens: int, rows: int) -> int:
    """Tokens of a chunk, at most ``rows``, where all chunks of so many tokens are to be of one size.

    >>> even_rows(1_100, 1_000), even_rows(0, 1_000)
    (550, 1)
    """
    chunks = max(1, -(-tokens // rows))
    return max(1, -(-tokens // chunks))
