"""DeepSpeed's JSON file, which other files name: found, and given its table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from luthier.dialects.companion import companion_read, named_document, yielding
from luthier.dialects.deepspeed_rows import DEEPSPEED_ROWS
from luthier.dialects.json_document import load_json
from luthier.dialects.table import Cannot, Effect, Row, Values, applied, inert, refused, replaced
from luthier.dialects.tabular import Companion

__all__ = ["DEEPSPEED_ROWS", "deepspeed_companion", "names_deepspeed", "under_deepspeed"]


def deepspeed_companion(path: str, folder: Path) -> Companion:
    """The DeepSpeed file that a file in ``folder`` names, with its table; without keys when it is not there.

    Raises:
        RecipeError: the file is there and is not JSON.
    """
    document = named_document(path, folder, load_json)
    return Companion(document, DEEPSPEED_ROWS, Path(path).name + ": ")


def names_deepspeed(value: Any, values: Values) -> Effect:
    """A key that names a DeepSpeed file: the engine and the file, or why not."""
    if not value:
        return inert("no DeepSpeed file is named")
    if isinstance(value, dict):
        raise Cannot("the DeepSpeed settings stand in the file itself", "put them into a JSON file and name that")
    if not companion_read(str(value), values):
        return refused(f"there is no DeepSpeed file {value}", "put it beside this file, or correct its path")
    return applied({"parallel.engine": "deepspeed", "parallel.deepspeed": str(value)})


def under_deepspeed(rows: tuple[Row, ...], prefix: str = "") -> tuple[Row, ...]:
    """``rows`` of a dialect whose optimiser and schedule give way to those of a DeepSpeed file that has its own."""
    blocks = {"optim": "optimizer", "adafactor": "optimizer", "lr_scheduler_type": "scheduler"}
    owned = {prefix + name: block for name, block in blocks.items()}

    def gives_way(block: str) -> Callable[[Any, Values], Effect | None]:
        def before(value: Any, values: Values) -> Effect | None:
            if not any(key.endswith(f": {block}.type") for key in values):
                return None
            return replaced({}, f"the {block} block of the DeepSpeed file replaces it")

        return before

    return tuple(yielding(row, gives_way(owned[row.name])) if row.name in owned else row for row in rows)
