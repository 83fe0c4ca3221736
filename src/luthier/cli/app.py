"""The ``luthier`` command: its commands, and how errors end it."""

from __future__ import annotations

import gc
import sys
import traceback
from types import TracebackType

import typer

from luthier.cli import (
    chat,
    compare,
    convert,
    evaluate,
    explain,
    export,
    generate,
    inspect,
    launch,
    merge,
    plan,
    push,
    read,
    report,
    serve,
    show,
    train,
)
from luthier.cli.arguments import complain
from luthier.environment import yield_idle_threads
from luthier.errors import LuthierError
from luthier.redaction import scrubbed

app = typer.Typer(
    help="Fine-tunes language models from the recipe you already have.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for name, module in (
    ("read", read),
    ("explain", explain),
    ("convert", convert),
    ("plan", plan),
    ("show", show),
    ("train", train),
    ("launch", launch),
    ("evaluate", evaluate),
    ("generate", generate),
    ("chat", chat),
    ("serve", serve),
    ("report", report),
    ("compare", compare),
    ("inspect", inspect),
    ("merge", merge),
    ("export", export),
    ("push", push),
):
    app.command(name)(module.command)


READERS = ("read", "plan", "show", "train", "launch", "convert", "explain")
"""Commands that take a recipe, and so also another system's command line after ``--``."""


def main() -> None:
    """Run the command; a user's error is told without a traceback and exits with 2."""
    yield_idle_threads()
    sys.excepthook = _told_of_a_bug
    words, pasted = sys.argv[1:], []
    if words[:1] and words[0].startswith("--local_rank="):  # DeepSpeed's launcher puts it first
        words = words[1:]
    if words[:1] and words[0] in READERS and "--" in words:
        at = words.index("--")
        words, pasted = words[:at], words[at + 1 :]
    try:
        app(args=words, obj=pasted)
    except LuthierError as error:
        for fault in error.faults:
            complain(fault)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.freeze()  # else the interpreter takes the libraries apart as it ends, for a second or two


def _told_of_a_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The traceback of what is no user's error, without the secrets that its messages may hold."""
    sys.stderr.write(scrubbed("".join(traceback.format_exception(kind, error, trace))))
