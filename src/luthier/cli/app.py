"""The ``luthier`` command: its commands, and how errors end it."""

from __future__ import annotations

import sys

import typer

from luthier.cli import evaluate, generate, plan, read, report, show, train
from luthier.environment import yield_idle_threads
from luthier.errors import LuthierError
from luthier.terminal import visible

app = typer.Typer(
    help="Fine-tunes language models from the recipe you already have.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for name, module in (
    ("read", read),
    ("plan", plan),
    ("show", show),
    ("train", train),
    ("evaluate", evaluate),
    ("generate", generate),
    ("report", report),
):
    app.command(name)(module.command)


def main() -> None:
    """Run the command; a user's error is told without a traceback and exits with 2."""
    yield_idle_threads()
    try:
        app()
    except LuthierError as error:
        for fault in error.faults:
            sys.stderr.write("luthier: " + "\n".join(visible(line) for line in str(fault).split("\n")) + "\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
