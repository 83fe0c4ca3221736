"""A file -> its dialect, named or told from its looks -> a reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from luthier.dialects.document import read_text
from luthier.dialects.reading import Reading
from luthier.errors import RecipeError
from luthier.registry import names, resolve


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
    reading: Reading = resolve("dialects", dialect or detect(text, str(path))).read(text, str(path), words)
    return reading


def detect(text: str, name: str) -> str:
    """The name of the dialect that a file's keys show; Luthier's own when none does, which then tells what is wrong."""
    for candidate in sorted(names("dialects"), key=lambda one: one != "luthier"):
        reader = resolve("dialects", candidate)
        try:
            document = reader.parse(text, name)
        except RecipeError:
            continue
        if isinstance(document.value, dict) and document.value and reader.recognises(document):
            return candidate
    return "luthier"
