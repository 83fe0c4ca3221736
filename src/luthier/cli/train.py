"""``luthier train``: carry a recipe out."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from luthier.cli.arguments import Dialect, File, Words


def command(
    file: File,
    words: Words = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say only what went wrong.")] = False,
    dialect: Dialect = None,
) -> None:
    """Train; the same command goes on where an interrupted run left off."""
    from rich.console import Console

    from luthier.dialects import read

    reading = read(file, words or (), dialect)
    console = Console(quiet=quiet, highlight=False, soft_wrap=True)
    console.print(f"[bold]luthier train {file}[/bold]: {reading.recipe.method.kind} into {reading.recipe.output.dir}")
    from luthier.train.display import Display
    from luthier.train.interrupt import Interrupted
    from luthier.train.run import run

    try:
        folder = run(reading, Display(console, live=reading.recipe.runtime.progress))
    except Interrupted as stopped:
        sys.stderr.write(f"luthier: {stopped}; the same command goes on from the checkpoint just saved\n")
        raise typer.Exit(stopped.code) from None
    from luthier.report import write_report

    page = write_report(folder)
    console.print(f"[bold]the result[/bold]   {folder.model}\n[bold]the report[/bold]   {page}")
    console.print(f"[bold]try it[/bold]       luthier generate {folder.root} --prompt '…'")
