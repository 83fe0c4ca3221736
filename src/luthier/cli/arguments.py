"""Arguments that several commands share, and how plain values are printed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from luthier.errors import Fault
from luthier.redaction import scrubbed
from luthier.terminal import visible_lines

File = Annotated[Path | None, typer.Argument(help="The recipe file.", metavar="FILE", show_default=False)]
Words = Annotated[
    list[str] | None, typer.Argument(help="Settings that win over the file: section.field=value.", metavar="[WORDS]...")
]
Dialect = Annotated[str | None, typer.Option("--dialect", help="Whose file it is; otherwise told from its looks.")]
Model = Annotated[str | None, typer.Option("--model", help="Where the model lies here.", metavar="PATH")]
Data = Annotated[str | None, typer.Option("--data", help="Where the rows lie here.", metavar="PATH")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse keys that are not known.")]
Json = Annotated[bool, typer.Option("--json", help="Print it for programs.")]


def complain(fault: Fault) -> None:
    """A fault on standard error; nothing in it is obeyed by a terminal."""
    sys.stderr.write(f"luthier: {visible_lines(scrubbed(str(fault)))}\n")


def print_json(value: Any) -> None:
    """Plain values as JSON on standard output; what a terminal might obey is written as an escape."""
    text = scrubbed(json.dumps(value, ensure_ascii=False, indent=2, default=str))
    safe = (one if one == "\n" or one.isprintable() else json.dumps(one)[1:-1] for one in text)
    sys.stdout.write("".join(safe) + "\n")


def shorten(value: Any, width: int = 60) -> str:
    """A value on one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
