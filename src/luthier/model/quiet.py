"""Warnings of PEFT about what this program answers for itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

ANSWERED = (
    # PEFT sees the layout of GPT-2's layers for itself.
    "fan_in_fan_out is set to",
    # A pattern of the recipe's that fits no layer is refused; PEFT adds its own for layers of experts.
    "The following (rank|alpha)_pattern keys did not match",
    # A tied weight is merged and exported by this program.
    "Model has `tie_word_embeddings=True` and a tied layer is part of the adapter",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Pass over these warnings, and no others, within."""
    with warnings.catch_warnings():
        for message in ANSWERED:
            warnings.filterwarnings("ignore", message=message)
        yield
