"""Files that a file names, and rows that look across the files: where another file's word counts more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.dialects.document import Document, read_text
from luthier.dialects.table import Effect, Row, Values


@dataclass(frozen=True, slots=True)
class Yielding(Row):
    """A row that lets ``before`` (of the value and all keys) speak first, and itself where that has nothing to say."""

    inner: Row
    before: Callable[[Any, Values], Effect | None]

    @property
    def targets(self) -> tuple[str, ...]:
        """Those of the row within."""
        return self.inner.targets

    def effect(self, value: Any, values: Values) -> Effect:
        """What ``before`` says, or else the row within."""
        found = self.before(value, values)
        return self.inner.effect(value, values) if found is None else found


def yielding(row: Row, before: Callable[[Any, Values], Effect | None]) -> Yielding:
    """``row``, which lets ``before`` speak first."""
    return Yielding(row.name, row, before, old=row.old, whole=row.whole, note=row.note)


def found(values: Values, name: str) -> Any:
    """The value of the key ``name`` in whichever of the files has it, also below a section; the first one.

    >>> found({"training_args.bf16": True, "ds.json: zero_optimization.stage": 3}, "bf16")
    True
    """
    endings = ("." + name, ": " + name)
    return next((value for key, value in values.items() if key == name or key.endswith(endings)), None)


def named_document(path: str, folder: Path, load: Callable[[str, str], Document]) -> Document:
    """The file called ``path`` in ``folder`` or a folder above it, parsed; an empty document when there is none."""
    here = folder.absolute()
    for base in (here, *here.parents):
        try:
            if (base / path).is_file():
                return _mapping(load(read_text(base / path), path))
        except (OSError, ValueError):
            break
    return Document(path, {})


def _mapping(document: Document) -> Document:
    return document if isinstance(document.value, dict) else Document(document.name, {})


def companion_read(path: str, values: Values) -> bool:
    """Whether the file called ``path`` was found and has keys."""
    prefix = Path(path).name + ": "
    return any(key.startswith(prefix) for key in values)
