"""``luthier read``: what a file says, and what becomes of every key in it."""

from __future__ import annotations

import typer

from luthier.cli.arguments import Data, Dialect, File, Json, Model, Strict, Words, complain, print_json, shorten
from luthier.cli.given import reading_of
from luthier.terminal import visible, visible_lines


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
    """Show the recipe that a file means, with an account of every key."""
    from luthier.dialects import Outcome

    reading = reading_of(context, file, words, dialect=dialect, model=model, data=data, strict=strict)
    if as_json:
        print_json(reading.tree())
        for fault in reading.faults:
            complain(fault)
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        from luthier.dialects.document import to_yaml
        from luthier.redaction import redacted, scrubbed

        console = Console()
        table = Table(title=escape(visible(f"{reading.source} ({reading.dialect})")), title_justify="left")
        for column in ("key", "value", "line", "outcome", "note"):
            table.add_column(column, overflow="fold", no_wrap=column in ("line", "outcome"))

        def near(place: str) -> str:
            return place.removeprefix(reading.source).removeprefix(":")

        def shown(text: str) -> str:
            return escape(visible(scrubbed(text)))

        colours = {Outcome.APPLIED: "green", Outcome.INERT: "yellow", Outcome.REFUSED: "red"}
        for account in reading.accounts:
            outcome = f"[{colours.get(account.outcome, 'cyan')}]{account.outcome.value}[/]"
            note = account.note or (f"-> {account.target}" if account.target != account.key else "")
            place = shown(near(account.place))
            table.add_row(shown(account.key), shown(shorten(account.value)), place, outcome, shown(note))
        console.print(table)
        console.print("The recipe (settings at their defaults are left out):", highlight=False)
        text = to_yaml(redacted(reading.recipe.tree(changed_only=True)))
        console.print(escape(visible_lines(text)), highlight=False)
        for fault in reading.faults:
            console.print(f"[red]open[/red] {escape(visible_lines(str(fault)))}", highlight=False)
    if reading.refusals():
        raise typer.Exit(2)
