"""A file -> its dialect, named or told from its looks -> a reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from luthier.dialects.command_line import load_command
from luthier.dialects.document import read_text as file_text
from luthier.dialects.json_document import load_json
from luthier.dialects.reading import Reading
from luthier.dialects.training_arguments_dump import is_dump, load_dump
from luthier.dialects.words import PLACE
from luthier.errors import Fault, RecipeError
from luthier.registry import names, resolve


def read(path: str | Path, words: Sequence[str] = (), dialect: str | None = None) -> Reading:
    """Read a recipe file.

    Args:
        path: the file.
        words: ``section.field=value`` words that win over the file; also ``--model=PATH`` and ``--data=PATH``.
        dialect: the name of the dialect; None looks at the file.

    Raises:
        RecipeError: the file cannot be read as a recipe; carries all its faults.
    """
    return read_text(file_text(Path(path)), str(path), words, dialect)


def read_text(text: str, name: str, words: Sequence[str] = (), dialect: str | None = None) -> Reading:
    """Read a recipe that is at hand as text; ``name`` is how places call it.

    Raises:
        RecipeError: it cannot be read as a recipe; carries all its faults.
    """
    named = dialect or detect(text, name)
    reading: Reading = resolve("dialects", named).read(text, name, words)
    return reading if named == "luthier" else _without_code(reading)


def _without_code(reading: Reading) -> Reading:
    """The reading of another system's file, which may name no code to import: only words of the command line may."""
    recipe, given = reading.recipe, {one.target for one in reading.accounts if one.place == PLACE}
    sources = {name: getattr(recipe.data, name) for name in ("train", "evaluate", "test")}
    asked = {
        "method.kind": (recipe.method.kind,),
        "optimizer.kind": (recipe.optimizer.kind,),
        "schedule.kind": (recipe.schedule.kind,),
        "evaluate.metrics": recipe.evaluate.metrics,
        **{f"data.{name}.{n}.format": (one.format,) for name, some in sources.items() for n, one in enumerate(some)},
    }
    faults = tuple(
        Fault(
            f"{key}: {value!r} names code, which is not imported from {reading.dialect} files", reading.source, remedy
        )
        for key, values in asked.items()
        for value in values
        if ":" in value and not any(key == one or key.startswith(f"{one}.") for one in given)
        for remedy in (f"say so yourself on the command line: {key}={value}",)
    )
    return replace(reading, faults=reading.faults + faults) if faults else reading


def detect(text: str, name: str) -> str:
    """The name of the dialect that a file's keys show; Luthier's own when none does, which then tells what is wrong.

    Raises:
        RecipeError: the file is a dump, JSON or a script, and broken.
    """
    for candidate in sorted(names("dialects"), key=lambda one: one != "luthier"):
        reader = resolve("dialects", candidate)
        try:
            document = reader.parse(text, name)
        except RecipeError:
            continue
        if isinstance(document.value, dict) and document.value and reader.recognises(document):
            return candidate
    _tell_what_is_broken(text, name)
    return "luthier"


def _tell_what_is_broken(text: str, name: str) -> None:
    """Raise the error of the notation that a file is plainly in; other readers would blame it for not being YAML."""
    if is_dump(text):
        load_dump(text, name)
    elif text.lstrip().startswith("{"):
        load_json(text, name)
    elif name.endswith((".sh", ".bash")) or text.startswith("#!"):
        load_command(text, name)
