"""Where two recipes differ, setting by setting; and what a written file must not hold."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

from luthier.convert.written import Missing
from luthier.dialects.typography import key_problem
from luthier.recipe import Recipe
from luthier.recipe.validate import parse
from luthier.redaction import HIDDEN, is_secret
from luthier.terminal import visible

_LEFT_OUT = "a secret does not belong into a recipe; give it to the run's own environment"
_ABSENT = object()


class Difference(NamedTuple):
    """A setting's dotted name, its value in either recipe (None where it is not there)."""

    setting: str
    wanted: Any
    found: Any


def differences(wanted: Recipe, found: Recipe) -> list[Difference]:
    """Every setting whose value differs; a source that only one recipe has is one setting."""
    return list(_differences((), wanted.tree(), found.tree()))


def _differences(path: tuple[str, ...], wanted: Any, found: Any) -> Iterator[Difference]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in dict.fromkeys((*wanted, *found)):
            yield from _differences((*path, key), wanted.get(key, _ABSENT), found.get(key, _ABSENT))
    elif _holds_mappings(wanted) and _holds_mappings(found):
        for index, (one, other) in enumerate(zip_longest(wanted, found, fillvalue=_ABSENT)):
            yield from _differences((*path, str(index)), one, other)
    elif wanted is _ABSENT or found is _ABSENT or wanted != found:
        yield Difference(".".join(path), _shown(wanted), _shown(found))


def _shown(value: Any) -> Any:
    """The value; of a mapping, what is set in it."""
    if isinstance(value, dict):
        return {key: inner for key, inner in value.items() if inner is not None and inner is not False and inner != {}}
    return None if value is _ABSENT else value


def _holds_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def purged(recipe: Recipe) -> tuple[Recipe, list[Missing]]:
    """The recipe without what no file should hold: secrets in its free-form settings, and names no file can hold."""
    tree = recipe.tree()
    gone = list(_purge((), tree))
    return (parse(tree, lambda path: "the recipe"), gone) if gone else (recipe, [])


def _purge(path: tuple[str, ...], value: Any) -> Iterator[Missing]:
    if isinstance(value, dict):
        for key in list(value):
            name, inner = ".".join((*path, key)), value[key]
            if key_problem(key):
                del value[key]
                yield Missing(visible(name), inner, None, "no configuration file can hold this name")
            elif isinstance(inner, str) and inner and len(path) > 1 and path[0] != "data" and is_secret(key):
                del value[key]
                yield Missing(name, HIDDEN, None, _LEFT_OUT)
            else:
                yield from _purge((*path, key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _purge((*path, str(index)), inner)
