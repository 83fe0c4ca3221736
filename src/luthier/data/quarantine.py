"""Rows that cannot be used are written down with what is wrong, in a form that can be read again once repaired."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from luthier.data.block import Broken
from luthier.data.cache import write_errors
from luthier.errors import Fault

PLACE, REASON, REMEDY, TEXT = "_place", "_reason", "_remedy", "_row"


def place_of_quarantine(entry: Path) -> Path:
    """Where the bad rows of a cache entry lie."""
    return entry.parent.parent / "bad_rows" / f"{entry.name}.jsonl"


def write_quarantine(path: Path, broken: Sequence[Broken]) -> None:
    """One object a line: the row's own columns, and why it is here; an earlier file of the same rows is replaced.

    Formats do not look at columns they do not know, so that the file is a source like any other as soon as its rows
    are right. A line that was no object is kept as text under ``_row``.

    Raises:
        DataError: the cache cannot be written.
    """
    with write_errors(path.parent):
        if not broken:
            with suppress(FileNotFoundError):
                path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with aside.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(_told(one), default=str) + "\n" for one in broken)
        os.replace(aside, path)


def advice(path: Path, count: int) -> Fault:
    """What to do about them."""
    return Fault(
        f"{count:,} bad {'row' if count == 1 else 'rows'}, written down with the reasons",
        str(path),
        "repair them there and name that file as one more source, or set data.bad_rows to go on without them",
    )


def _told(one: Broken) -> dict[str, Any]:
    row = one.raw if isinstance(one.raw, dict) else {TEXT: one.raw}
    return {PLACE: one.fault.place, REASON: one.fault.reason, REMEDY: one.fault.remedy, **row}
