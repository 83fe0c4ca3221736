"""Every applied row changes the recipe: a key's two values, beside what makes the key count."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from luthier.dialects.reading import Reading
from luthier.dialects.table import Row
from luthier.dialects.tabular import TableDialect


@dataclass(frozen=True)
class Flip:
    """Two values that mean two recipes, and the other keys they need."""

    one: Any
    other: Any
    beside: Mapping[str, Any] = field(default_factory=dict)


def read(dialect: TableDialect, keys: Mapping[str, Any], *words: str) -> Reading:
    """A file of these dotted keys, as JSON, which every one of the dialects reads."""
    tree: dict[str, Any] = {}
    for dotted, value in keys.items():
        *above, last = dotted.split(".")
        inner = tree
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return dialect.read(json.dumps(tree, indent=1), "recipe", words)


def differs(dialect: TableDialect, base: Mapping[str, Any], name: str, flip: Flip) -> bool:
    """Whether the two values mean two recipes, and neither is refused."""
    readings = [read(dialect, {**base, **flip.beside, name: value}) for value in (flip.one, flip.other)]
    refused = [account for reading in readings for account in reading.accounts if account.outcome == "refused"]
    assert not refused, refused
    return readings[0].recipe != readings[1].recipe


def makers(rows: Iterable[Row]) -> list[str]:
    """Every name of every row that makes settings."""
    return [name for row in rows if row.targets for name in row.names]
