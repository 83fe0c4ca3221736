"""``luthier explain``: what a setting, another system's key, or every line of a file means."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luthier.cli.arguments import Dialect, Json, print_json
from luthier.terminal import visible

if TYPE_CHECKING:
    from luthier.explain.annotate import Annotated as ExplainedFile
    from luthier.explain.describe import Entry

FILES = (".yaml", ".yml", ".json", ".sh", ".txt", ".log")


class Language(StrEnum):
    """The languages there are."""

    EN = "en"
    ZH = "zh"


def command(
    what: Annotated[
        str,
        typer.Argument(help="A setting (optimizer.lr), any system's key (lora_r), or a recipe file.", metavar="WHAT"),
    ],
    lang: Annotated[
        Language | None, typer.Option("--lang", help="The language; otherwise Chinese if LANG says so.")
    ] = None,
    as_json: Json = False,
    dialect: Dialect = None,
) -> None:
    """Explain a setting or key, or every line of a recipe file, in English or Chinese."""
    from luthier.environment import language

    tongue = lang.value if lang else language()
    path = Path(what)
    if path.is_file() or "/" in what or path.suffix in FILES:
        from luthier.explain.annotate import annotate

        file = annotate(path, tongue, dialect=dialect)
        print_json(file.tree()) if as_json else _print_file(file)
        return
    from luthier.explain.describe import entry
    from luthier.explain.lookup import look_up

    entries = [entry(what, meaning, tongue) for meaning in look_up(what, dialect)]
    print_json([one.tree() for one in entries]) if as_json else _print_entries(entries)


def _print_entries(entries: list[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for position, one in enumerate(entries):
        if position:
            console.print()
        console.print(Text(visible(one.head), style="bold"), soft_wrap=True)
        if not console.is_terminal:
            for _, label, text in one.lines:
                console.print(Text(f"  {label}: {text}"), soft_wrap=True)
            continue
        table = Table.grid(padding=(0, 2))
        table.add_column(style="cyan", max_width=24)
        table.add_column(overflow="fold")
        last = ""
        for _, label, text in one.lines:
            table.add_row(Text(f"  {'' if label == last else label}"), Text(text))
            last = label
        console.print(table)


def _print_file(file: ExplainedFile) -> None:
    from rich.console import Console
    from rich.text import Text

    from luthier.explain.beside import beside

    console = Console(highlight=False)
    lines = list(beside(file))
    if lines and not (lines[-1].text or lines[-1].said):
        lines.pop()
    for line in lines:
        sys.stdout.write("\t".join(map(visible, line.text.split("\t"))))
        console.print(Text(visible(line.said), style="green"), soft_wrap=True)
