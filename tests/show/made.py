"""Rows, and how they come to be shown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from luthier.dialects import read
from luthier.plan.verdict import verdict
from luthier.show.first import FirstBatch, first_batch
from luthier.show.trace import Trace, trace
from luthier.train.display import Display
from luthier.train.prepare import Inputs, prepare_inputs
from tests.conftest import World, write_jsonl
from tests.data.made import recipe_of

HOSTILE = (
    "\x1b]0;title\x07\x1b[31m\x9b2J\r\b\u202e\x01[bold red]x[/] :smile: </script></style><img src=x onerror=a()>⟦y⟧"
)


def silent() -> Display:
    return Display(Console(file=io.StringIO()), live=False)


def prepared(recipe_file: Path) -> tuple[Any, Inputs]:
    found = verdict(read(recipe_file, [], None))
    return found.recipe, prepare_inputs(found.recipe, silent(), found.instead)


def shown_first(world: World, path: Path, rows: Sequence[dict[str, Any]], **sections: Any) -> FirstBatch:
    """The first batch of a run on some rows."""
    data = {"train": [{"path": str(write_jsonl(path, rows))}], "max_length": 999, **sections.pop("data", {})}
    recipe = recipe_of(world, data=data, **sections)
    return first_batch(recipe, prepare_inputs(recipe, silent()))


def traced(world: World, path: Path, row: dict[str, Any], **data: Any) -> Trace:
    """The only row of a file."""
    write_jsonl(path, [row])
    recipe = recipe_of(world, data={"train": [{"path": str(path)}], "max_length": 999, **data})
    return trace(recipe, world.model, 1)
