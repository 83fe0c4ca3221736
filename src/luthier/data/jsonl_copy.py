"""A table of questions written out as JSON lines: ``{"category", "conversation": [{"human", "assistant"}]}`` a row."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from luthier.data.source import files_of, rows_of
from luthier.errors import DataError
from luthier.recipe import Recipe
from luthier.recipe.source import Source

TABLES = (".csv", ".tsv", ".parquet")


def with_copies(recipe: Recipe) -> Recipe:
    """The recipe with every source that asks for it written out, and read from there.

    Raises:
        DataError: a table cannot be read, or its copy cannot be written.
    """
    data = recipe.data
    parts = {name: tuple(map(_copied, getattr(data, name))) for name in ("train", "evaluate", "test")}
    return recipe.model_copy(update={"data": data.model_copy(update=parts)})


def place_of_copy(table: Path) -> Path:
    """Where a table's copy lies: in ``jsonl`` beside the folder ``csv``, or else beside the table.

    >>> place_of_copy(Path("rows/csv/q.csv")).as_posix(), place_of_copy(Path("rows/q.csv")).as_posix()
    ('rows/jsonl/q.jsonl', 'rows/jsonl/q.jsonl')
    """
    folder = table.parent
    above = folder.parent if folder.name.lower() == table.suffix.removeprefix(".") else folder
    return above / "jsonl" / f"{table.stem}.jsonl"


def _copied(source: Source) -> Source:
    if not source.as_jsonl:
        return source
    files = files_of(source)
    tables = [path for path in files if path.suffix in TABLES]
    if len(files) != 1 or len(tables) != 1:
        return source
    place = place_of_copy(tables[0])
    _write(place, _lines(source))
    update = {"path": str(place), "format": "messages", "columns": {}, "as_jsonl": False, "rows": None}
    return source.model_copy(update=update)


def _lines(source: Source) -> Iterator[str]:
    for row in rows_of(source):
        missing = [name for name in ("human", "assistant") if name not in row.value]
        if missing:
            raise DataError(
                f"has no column {' and no column '.join(missing)}",
                place=row.origin,
                remedy="name the columns category,human,assistant in its first line",
            )
        turn = {"human": row.value["human"], "assistant": row.value["assistant"]}
        yield json.dumps({"category": row.value.get("category"), "conversation": [turn]}, ensure_ascii=False) + "\n"


def _write(place: Path, lines: Iterator[str]) -> None:
    """Whole or not at all."""
    aside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(lines)
            os.replace(aside, place)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot be written: {error.strerror}",
            place=str(place),
            remedy="make the folder writable, or set data.train.0.as_jsonl=false to read the table itself",
        ) from error
