"""Plain values -> Recipe, with every fault at once, each where the user wrote it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from luthier.errors import Fault, RecipeError, nearest
from luthier.recipe.contradictions import contradictions
from luthier.recipe.field import Section, fields_of, section_class
from luthier.recipe.recipe import Recipe

KeyPath = tuple[str | int, ...]
PlaceOf = Callable[[KeyPath], str]


def parse(tree: dict[str, Any], place_of: PlaceOf) -> Recipe:
    """The recipe that ``tree`` writes down; ``place_of`` tells where a key was written.

    Raises:
        RecipeError: all faults of form: names, types, ranges.
    """
    try:
        return Recipe.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        raise RecipeError(*_faults(error.errors(include_url=False), place_of)) from None


def build(tree: dict[str, Any], place_of: PlaceOf) -> Recipe:
    """The recipe that ``tree`` writes down, free of contradictions.

    Raises:
        RecipeError: all faults of form, or, when the form is right, all contradictions.
    """
    recipe = parse(tree, place_of)
    faults = [
        Fault(f"{key}: {reason}", place_of(tuple(key.split("."))), remedy)
        for key, reason, remedy in contradictions(recipe)
    ]
    if faults:
        raise RecipeError(*faults)
    return recipe


def _faults(errors: list[ErrorDetails], place_of: PlaceOf) -> list[Fault]:
    grouped: dict[KeyPath, list[ErrorDetails]] = {}
    for error in errors:
        grouped.setdefault(_setting_path(error["loc"], error["type"]), []).append(error)
    return [_fault(path, group, place_of(path)) for path, group in grouped.items()]


def _setting_path(loc: KeyPath, kind: str) -> KeyPath:
    """The part of pydantic's location that the user wrote: without the names of union members."""
    section: type[Section] | None = Recipe
    path: list[str | int] = []
    for part in loc:
        if isinstance(part, int):
            path.append(part)
        elif section is not None and part in section.model_fields:
            path.append(part)
            section = section_class(section.model_fields[part])
        elif section is not None and kind == "extra_forbidden":
            path.append(part)
            break
        else:
            break
    return tuple(path)


def _fault(path: KeyPath, group: list[ErrorDetails], place: str) -> Fault:
    key = ".".join(str(part) for part in path)
    first = group[0]
    if first["type"] == "extra_forbidden":
        return Fault(f"{key} is not a setting", place, _suggest(path))
    given = first.get("input")
    shown = "" if isinstance(given, dict) or first["type"] == "missing" else f" (found {given!r})"
    told = (error["msg"].removeprefix("Value error, ") for error in group)
    reason = " or ".join(dict.fromkeys(message[0].lower() + message[1:] for message in told))
    return Fault(f"{key}: {reason}{shown}", place)


def _suggest(path: KeyPath) -> str:
    section: type[Section] = Recipe
    for part in path[:-1]:
        if isinstance(part, str):
            section = section_class(section.model_fields[part]) or section
    name = str(path[-1])
    everywhere = list(dict.fromkeys(prefix for dotted, _ in fields_of(Recipe) for prefix in _prefixes(dotted)))
    same = _either(name, everywhere)
    if same:
        return f"did you mean {same}?"
    here = nearest(name, section.model_fields)
    if here:
        return f"did you mean {'.'.join([*map(str, path[:-1]), here])}?"
    elsewhere = nearest(name, (dotted.rsplit(".", 1)[-1] for dotted in everywhere))
    if elsewhere:
        return f"did you mean {_either(elsewhere, everywhere)}?"
    return f"settings here: {', '.join(section.model_fields)}"


def _either(name: str, everywhere: list[str]) -> str:
    """The settings and sections whose last part is ``name``, at most three, as alternatives."""
    return " or ".join([dotted for dotted in everywhere if dotted.rsplit(".", 1)[-1] == name][:3])


def _prefixes(dotted: str) -> list[str]:
    """A setting's dotted name and those of the sections above it."""
    parts = dotted.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]
