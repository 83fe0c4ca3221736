"""``luthier plan``: what a run will be and cost, before a weight is loaded."""

from __future__ import annotations

import typer

from luthier.cli.arguments import Dialect, File, Json, Words, print_json


def command(file: File, words: Words = None, as_json: Json = False, dialect: Dialect = None) -> None:
    """Show steps, tokens, memory and time of a run before anything is loaded."""
    from luthier.dialects import read
    from luthier.errors import LuthierError
    from luthier.plan.plan import plan_recipe
    from luthier.plan.support import unsupported

    reading = read(file, words or (), dialect)
    refused = [*reading.refusals(), *unsupported(reading.recipe)]
    try:
        plan = plan_recipe(reading.recipe)
    except LuthierError as error:
        raise type(error)(*refused, *error.faults) from error
    if as_json:
        print_json({**plan.tree(), "refused": [str(fault) for fault in refused]})
    else:
        from rich.console import Console
        from rich.markup import escape

        from luthier.plan.page import describe

        console = Console(highlight=False)
        console.print(describe(plan, reading.recipe))
        for fault in refused:
            console.print(f"[red]refused[/red] {escape(str(fault))}")
    if refused:
        raise typer.Exit(2)
