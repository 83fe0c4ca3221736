"""``luthier read``: what a file says, and what becomes of every key in it."""

from __future__ import annotations

import typer

from luthier.cli.arguments import Dialect, File, Json, Words, print_json, shorten


def command(file: File, words: Words = None, as_json: Json = False, dialect: Dialect = None) -> None:
    """Show the recipe that a file means, with an account of every key."""
    from luthier.dialects import Outcome, read

    reading = read(file, words or (), dialect)
    if as_json:
        print_json(reading.tree())
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        from luthier.dialects.document import to_yaml

        console = Console()
        table = Table(title=f"{file} ({reading.dialect})", title_justify="left")
        for column in ("key", "value", "place", "outcome", "note"):
            table.add_column(column, overflow="fold")
        colours = {Outcome.APPLIED: "green", Outcome.INERT: "yellow", Outcome.REFUSED: "red"}
        for account in reading.accounts:
            outcome = f"[{colours.get(account.outcome, 'cyan')}]{account.outcome.value}[/]"
            note = account.note or (f"-> {account.target}" if account.target != account.key else "")
            table.add_row(
                escape(account.key), escape(shorten(account.value)), escape(account.place), outcome, escape(note)
            )
        console.print(table)
        console.print("The recipe (settings at their defaults are left out):", highlight=False)
        console.print(
            escape(to_yaml(reading.recipe.tree(changed_only=True))),
            highlight=False,
        )
        for fault in reading.faults:
            console.print(f"[red]open[/red] {escape(str(fault))}", highlight=False)
    if reading.refusals():
        raise typer.Exit(2)
