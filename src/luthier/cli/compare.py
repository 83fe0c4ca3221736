"""``luthier compare``: runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luthier.cli.arguments import Json, print_json

if TYPE_CHECKING:
    from luthier.report.comparison import Measured


def command(
    runs: Annotated[list[Path], typer.Argument(help="Runs' folders.", metavar="RUN RUN...")],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write it as a page, with the curves and answers.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Lay runs side by side: where their recipes differ, what they reached, what it took."""
    from luthier.errors import RunError
    from luthier.record.folder import RunFolder
    from luthier.report.comparison import data_apart, measured, settings_apart, sides
    from luthier.report.source import read_record

    if len(runs) < 2:
        raise RunError("one run has nothing to stand beside", place=str(runs[0]), remedy="name two runs or more")
    folders = [RunFolder(run) for run in runs]
    told = sides([read_record(folder) for folder in folders])
    apart, figures, settings = data_apart(told), measured(told), settings_apart(told)
    if html is not None:
        from luthier.report.compare_page import write_comparison

        typer.echo(write_comparison(folders, html))
    elif as_json:
        print_json(
            {
                "runs": [one.name for one in told],
                "data_apart": apart,
                "figures": {one.key.removeprefix("metric "): one.values for one in figures},
                "settings": dict(settings),
            }
        )
    else:
        _show([one.name for one in told], figures, settings, apart)


def _show(
    names: list[str], figures: list[Measured], settings: list[tuple[str, tuple[str, ...]]], apart: list[str]
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from luthier.terminal import visible

    console = Console()
    reached = [(one.key.removeprefix("metric "), one.shown, one.best) for one in figures]
    differ: list[tuple[str, tuple[str, ...], int | None]] = [(name, values, None) for name, values in settings]
    for title, rows in (("what they reached", reached), ("where the recipes differ", differ)):
        table = Table("", title=title, title_justify="left")
        for name in names:
            table.add_column(Text(visible(name)), overflow="fold")
        for name, values, best in rows:
            cells = [Text(visible(value), style="bold" if at == best else "") for at, value in enumerate(values)]
            table.add_row(Text(visible(name)), *cells)
        if rows:
            console.print(table)
    if not settings:
        console.print("Their recipes say the same.")
    if apart:
        console.print(f"Their {' and '.join(apart)} rows are not the same: losses do not compare.")
