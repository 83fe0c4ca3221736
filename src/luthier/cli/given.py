"""What a command was given -> a reading: a file, ChatGLM3's positions, or a pasted command line after ``--``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from luthier.errors import Fault, LuthierError, RecipeError
from luthier.registry import look_in

if TYPE_CHECKING:
    from luthier.dialects.reading import Reading

PASTED = "the pasted command"
"""How places call a command line after ``--``."""


def reading_of(
    context: typer.Context,
    file: Path | None,
    words: Sequence[str] | None,
    *,
    dialect: str | None = None,
    model: str | None = None,
    data: str | None = None,
    strict: bool = False,
) -> Reading:
    """The reading of what stands on the command line; the user's own modules are found beside the file and here.

    Args:
        context: its ``obj`` holds the words after ``--``.
        file: the recipe, or the folder of the rows in ChatGLM3's ``data_dir model_dir config [auto_resume]``.
        words: settings that win over the file.

    Raises:
        RecipeError: nothing is given, or it cannot be read.
    """
    from luthier.dialects import read, read_text

    given = list(words or ())
    if file is not None and file.is_dir() and len(given) > 1 and "=" not in given[0] + given[1]:
        positions = [one for one in given if "=" not in one]
        words_beside = [one for one in given if "=" in one]
        data, model, dialect = data or str(file), model or positions[0], dialect or "chatglm3"
        file, given = Path(positions[1]), [*_resume(positions[2:]), *words_beside]
    look_in(*([] if file is None else [file.parent]), Path.cwd())
    given += [f"--model={model}"] if model is not None else []
    given += [f"--data={data}"] if data is not None else []
    if context.obj:
        first = [] if file is None else [str(file)]
        reading = read_text(shlex.join(context.obj), PASTED, [*first, *given], dialect or "peft_sft")
    elif file is None:
        raise RecipeError("no recipe is given", remedy="name a FILE, or paste a command line after --")
    else:
        reading = read(file, given, dialect)
    return reading.strict() if strict else reading


@contextmanager
def with_refusals(refused: Sequence[Fault]) -> Iterator[None]:
    """What goes wrong within is told together with what is refused anyway, each fault once.

    Raises:
        LuthierError: as it was raised, with the refusals first.
    """
    try:
        yield
    except LuthierError as error:
        raise type(error)(*dict.fromkeys((*refused, *error.faults))) from error


def _resume(positions: Sequence[str]) -> list[str]:
    """ChatGLM3's fourth position: yes is the newest checkpoint, a number that step's."""
    match [one.lower() for one in positions]:
        case []:
            return []
        case ["yes"]:
            return ["checkpoint.resume=auto"]
        case [step] if step.isdecimal():
            return [f"checkpoint.resume=checkpoint-{int(step)}"]
        case ["no"]:
            raise RecipeError(
                "auto_resume: no trained nothing and only answered the test rows, although its help said restart",
                place="the command line",
                remedy="leave it out to train, or write checkpoint.resume=never to start anew",
            )
    raise RecipeError(
        f"auto_resume: {' '.join(positions)} is not there",
        place="the command line",
        remedy="write yes, a checkpoint's step, or nothing",
    )
