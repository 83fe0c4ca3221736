"""Who reads a file that is to be explained: its dialect, or for a companion file on its own, its table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from luthier.dialects.accelerate import ACCELERATE_ROWS
from luthier.dialects.deepspeed_rows import DEEPSPEED_ROWS
from luthier.dialects.document import Document, load_yaml
from luthier.dialects.json_document import load_json
from luthier.dialects.read import detect
from luthier.dialects.reading import Reading
from luthier.dialects.tabular import TableDialect, units_of
from luthier.errors import RecipeError
from luthier.registry import resolve

KNOWN_SHARE = 0.8
"""So many of a companion file's keys are in its table."""


class Reader(Protocol):
    """What a dialect can do."""

    def parse(self, text: str, name: str) -> Document:
        """The file as plain values."""

    def read(self, text: str, name: str, words: Sequence[str]) -> Reading:
        """What the file means."""


def _yaml(text: str, name: str) -> Document:
    return load_yaml(text, name, version="1.1")


COMPANIONS = (
    TableDialect("deepspeed", DEEPSPEED_ROWS, parse=load_json),
    TableDialect("accelerate", ACCELERATE_ROWS, parse=_yaml),
)


def reader_of(text: str, name: str, dialect: str | None) -> Reader:
    """The reader of a file: the dialect that is named or that its keys show, else a companion's table.

    Raises:
        RecipeError: there is no such dialect, or the file is broken.
    """
    found = dialect or detect(text, name)
    native: Reader = resolve("dialects", found)
    if dialect or found != "luthier":
        return native
    return next((one for one in COMPANIONS if _is_of(one, text, name)), native)


def _is_of(table: TableDialect, text: str, name: str) -> bool:
    try:
        document = table.parse(text, name)
    except RecipeError:
        return False
    if not isinstance(document.value, dict):
        return False
    units = list(units_of(document, table.rows, ""))
    return len(units) > 1 and sum(unit.row is not None for unit in units) >= KNOWN_SHARE * len(units)
