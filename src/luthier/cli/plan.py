"""``luthier plan``: what a run will be and cost, before a weight is loaded."""

from __future__ import annotations

from dataclasses import replace

import typer

from luthier.cli.arguments import Data, Dialect, File, Json, Model, Strict, Words, print_json
from luthier.cli.given import reading_of, with_refusals
from luthier.terminal import visible_lines


def command(
    context: typer.Context,
    file: File = None,
    words: Words = None,
    as_json: Json = False,
    dialect: Dialect = None,
    model: Model = None,
    data: Data = None,
    strict: Strict = False,
) -> None:
    """Show steps, tokens, memory and time of a run before anything is loaded."""
    from luthier.plan.plan import plan_recipe
    from luthier.plan.verdict import verdict

    reading = reading_of(context, file, words, dialect=dialect, model=model, data=data, strict=strict)
    found = verdict(reading)
    with with_refusals(found.refused):
        plan = plan_recipe(found.recipe)
    plan = replace(plan, warnings=(*found.instead, *plan.warnings))
    if as_json:
        print_json({**plan.tree(), "refused": [str(fault) for fault in found.refused]})
    else:
        from rich.console import Console
        from rich.markup import escape

        from luthier.plan.page import describe

        console = Console(highlight=False)
        console.print(describe(plan, found.recipe))
        for fault in found.refused:
            console.print(f"[red]refused[/red] {escape(visible_lines(str(fault)))}")
    if found.refused:
        raise typer.Exit(2)
