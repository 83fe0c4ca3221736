"""What thousands of imported modules cost the collector of garbage, which finds none among them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def staying() -> Iterator[None]:
    """What is imported here is not walked over, neither meanwhile nor ever after: an eighth of the time that torch,
    transformers and PEFT take."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
