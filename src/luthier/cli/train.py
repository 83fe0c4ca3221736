"""``luthier train``: carry a recipe out."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from luthier.cli.arguments import Data, Dialect, File, Model, Strict, Words
from luthier.cli.given import reading_of


def command(
    context: typer.Context,
    file: File = None,
    words: Words = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say only what went wrong.")] = False,
    dialect: Dialect = None,
    model: Model = None,
    data: Data = None,
    strict: Strict = False,
) -> None:
    """Train; the same command goes on where an interrupted run left off."""
    from rich.console import Console
    from rich.markup import escape

    reading = reading_of(context, file, words, dialect=dialect, model=model, data=data, strict=strict)
    console = Console(quiet=quiet, highlight=False, soft_wrap=True)
    kind, folder = reading.recipe.method.kind, reading.recipe.output.dir
    console.print(f"[bold]luthier train {escape(reading.source)}[/bold]: {kind} into {escape(folder)}")
    from luthier.train.display import Display
    from luthier.train.interrupt import Interrupted
    from luthier.train.run import run

    try:
        done = run(reading, Display(console, live=reading.recipe.runtime.progress))
    except Interrupted as stopped:
        sys.stderr.write(f"luthier: {stopped}; the same command goes on from the checkpoint just saved\n")
        raise typer.Exit(stopped.code) from None
    from luthier.report import write_report

    page = write_report(done)
    console.print(f"[bold]the result[/bold]   {done.model}\n[bold]the report[/bold]   {page}")
    console.print(f"[bold]try it[/bold]       luthier generate {done.root} --prompt '…'")
