"""A file -> its dialect -> a reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from luthier.dialects.document import read_text
from luthier.dialects.reading import Reading
from luthier.registry import resolve


def read(path: str | Path, words: Sequence[str] = (), dialect: str | None = None) -> Reading:
    """Read a recipe file.

    Args:
        path: the file.
        words: ``section.field=value`` words that win over the file.
        dialect: the name of the dialect; None looks at the file.

    Raises:
        RecipeError: the file cannot be read as a recipe; carries all its faults.
    """
    text = read_text(Path(path))
    reading: Reading = resolve("dialects", dialect or "luthier").read(text, str(path), words)
    return reading
