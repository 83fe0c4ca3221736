"""``luthier convert``: the recipe of any file as a file of another dialect, and what that cannot say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luthier.cli.arguments import Data, Dialect, File, Json, Model, Strict, Words, print_json, shorten
from luthier.cli.given import reading_of
from luthier.terminal import visible, visible_lines

if TYPE_CHECKING:
    from luthier.convert import Missing
    from luthier.dialects import Reading

To = Annotated[
    str,
    typer.Option(
        "--to", help="axolotl, firefly, chatglm3, peft_sft, training_arguments or luthier.", metavar="DIALECT"
    ),
]
Output = Annotated[Path | None, typer.Option("--output", help="Write it there instead of printing it.")]
Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]


def command(
    context: typer.Context,
    to: To,
    file: File = None,
    words: Words = None,
    output: Output = None,
    force: Force = False,
    as_json: Json = False,
    dialect: Dialect = None,
    model: Model = None,
    data: Data = None,
    strict: Strict = False,
) -> None:
    """Write the recipe that a file means in another dialect; what cannot be said there is listed."""
    from luthier.convert import convert

    reading = reading_of(context, file, words, dialect=dialect, model=model, data=data, strict=strict)
    place = output if output is not None else file
    written = convert(reading.recipe, to, place.parent if place is not None else None)
    missing = (*written.missing, *_refused(reading))
    if output is not None:
        _save(output, written.text, force=force)
    if as_json:
        print_json({"dialect": to, "text": written.text, "missing": [one.tree() for one in missing]})
    elif output is None:
        sys.stdout.write(written.text)
    _tell(to, missing)
    for fault in reading.faults:
        sys.stderr.write(visible_lines(f"open: {fault}") + "\n")


def _refused(reading: Reading) -> list[Missing]:
    """The source's refused keys, which are in nobody's recipe."""
    from luthier.convert import Missing
    from luthier.dialects import Outcome

    return [
        Missing(one.key, one.value, None, f"refused where it stands ({one.place}): {one.note}")
        for one in reading.accounts
        if one.outcome is Outcome.REFUSED
    ]


def _save(path: Path, text: str, *, force: bool) -> None:
    """Write the file.

    Raises:
        RecipeError: it is there and ``force`` is not given, or it cannot be written.
    """
    from luthier.errors import RecipeError

    try:
        with path.open("w" if force else "x", encoding="utf-8", newline="\n") as target:
            target.write(text)
    except FileExistsError as error:
        raise RecipeError("is there already", place=str(path), remedy="add --force to write over it") from error
    except OSError as error:
        raise RecipeError(
            f"cannot be written: {error.strerror}", place=str(path), remedy="name another file"
        ) from error


def _tell(to: str, missing: tuple[Missing, ...]) -> None:
    """The list, one setting a line, on standard error."""
    if missing:
        sys.stderr.write(f"What the {to} file does not say:\n")
    for one in missing:
        means = "" if one.means is None else f"; the file means {shorten(one.means)}"
        sys.stderr.write(visible(f"  {one.setting} = {shorten(one.value)}{means} ({one.why})") + "\n")
