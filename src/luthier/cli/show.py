"""``luthier show``: what the trainer will see of a row, stage by stage."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.arguments import File, Json, Words, print_json


def command(
    file: File,
    row: Annotated[int, typer.Argument(help="Which row, counted from 1.", min=1)] = 1,
    words: Words = None,
    as_json: Json = False,
) -> None:
    """Show one row as it is read, rendered, tokenised and masked."""
    from luthier.data.trace import trace
    from luthier.dialects import read
    from luthier.plan.inputs import tokenizer_directory

    recipe = read(file, words or ()).recipe
    stages = trace(recipe, tokenizer_directory(recipe), row)
    if as_json:
        print_json(stages.tree())
    else:
        from rich.console import Console

        from luthier.data.page import describe

        Console(highlight=False).print(describe(stages))
