"""``luthier show``: what the trainer will see, from the first batch's own tensors or of one row, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luthier.cli.arguments import Data, Dialect, File, Json, Model, complain, print_json
from luthier.cli.explain import Language
from luthier.cli.given import reading_of, with_refusals
from luthier.terminal import visible

if TYPE_CHECKING:
    from luthier.plan.verdict import Verdict
    from luthier.show.trace import Trace
    from luthier.train.display import Display
    from luthier.train.prepare import Inputs

RowAndWords = Annotated[
    list[str] | None,
    typer.Argument(
        help="A row, counted from 1, instead of the first batch; settings that win over the file: section.field=value.",
        metavar="[ROW] [WORDS]...",
    ),
]


def command(
    context: typer.Context,
    file: File = None,
    words: RowAndWords = None,
    as_json: Json = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write one HTML page there instead.", metavar="PATH")
    ] = None,
    lang: Annotated[
        Language | None, typer.Option("--lang", help="The language; otherwise Chinese if LANG says so.")
    ] = None,
    dialect: Dialect = None,
    model: Model = None,
    data: Data = None,
) -> None:
    """Show what the trainer will see: the tokens of the first batch, which of them are learned and why, or one row.

    The batch is the run's own, so all rows are prepared first, as training does (it finds them prepared then). Large
    files take a while; progress goes to standard error.
    """
    from rich.console import Console
    from rich.markup import escape

    from luthier.environment import language
    from luthier.plan.verdict import verdict
    from luthier.show.page import batch_page, row_page, write_page
    from luthier.show.terminal import Printer
    from luthier.train.display import Display

    tongue = lang.value if lang else language()
    file, row, words = _with_row(context, file, words)
    reading = reading_of(context, file, words, dialect=dialect, model=model, data=data)
    found = verdict(reading)
    display = Display(Console(stderr=True, highlight=False, soft_wrap=True), live=False)
    printer = Printer(Console(highlight=False), tongue)
    if row is None:
        from luthier.show.first import first_batch

        first = first_batch(found.recipe, _prepared(found, display))
        if as_json:
            print_json(first.tree(tongue))
        elif html is None:
            printer.batch(first)
        page = "" if html is None else batch_page(first, reading.source, tongue)
    else:
        stages = _trace(found, display, row)
        if as_json:
            print_json(stages.tree(tongue))
        elif html is None:
            printer.row(stages)
        page = "" if html is None else row_page(stages, reading.source, tongue)
    if html is not None:
        write_page(html, page)
        display.say(f"[bold]the page[/bold]     {escape(visible(str(html)))}")
    if row is None and found.refused:
        for fault in found.refused:
            complain(fault)
        raise typer.Exit(2)


def _prepared(found: Verdict, display: Display) -> Inputs:
    """What a run of the recipe would work on; what is refused is told with what is wrong besides."""
    from luthier.errors import RunError
    from luthier.registry import known
    from luthier.train.prepare import prepare_inputs

    if not known("methods", found.recipe.method.kind):
        raise RunError(*found.refused)
    with with_refusals(found.refused):
        return prepare_inputs(found.recipe, display, found.instead)


def _trace(found: Verdict, display: Display, row: int) -> Trace:
    """A row's stages; where the run cannot be prepared, it is said why, and the row is shown without its use."""
    from luthier.data.encoder import Encoder
    from luthier.data.jsonl_copy import with_copies
    from luthier.errors import LuthierError
    from luthier.plan.inputs import tokenizer_directory
    from luthier.plan.instead import with_template
    from luthier.show.trace import trace

    recipe = with_copies(found.recipe)
    tokenizer = tokenizer_directory(recipe, display.stage)
    stages = trace(with_template(recipe, Encoder.open(tokenizer))[0], tokenizer, row)
    try:
        return stages.with_uses(_prepared(found, display))
    except LuthierError as error:
        for fault in error.faults:
            complain(fault)
        return stages


def _with_row(
    context: typer.Context, file: Path | None, words: Sequence[str] | None
) -> tuple[Path | None, int | None, list[str]]:
    """The words with the row taken out of them; before a pasted command it may stand where the file would."""
    from luthier.errors import RecipeError

    given = list(words or ())
    if context.obj and file is not None and str(file).isdecimal() and not file.exists():
        file, given = None, [str(file), *given]
    found = next((one for one in given if one.isdecimal()), None)
    if found is None:
        return file, None, given
    given.remove(found)
    if int(found) < 1:
        raise RecipeError("rows are counted from 1", place=f"row {found}", remedy="ask for row 1 or a later one")
    return file, int(found), given
