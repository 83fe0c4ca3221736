"""``section.field=value`` words of the command line, laid over a recipe's plain values; ``--model=PATH`` and
``--data=PATH`` stand for the words that put the model and the rows there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from luthier.dialects.document import KeyPath, parse_scalar
from luthier.dialects.move import data_words, model_words
from luthier.errors import Fault, RecipeError
from luthier.redaction import redacted

PLACE = "the command line"


def lay_over(tree: dict[str, Any], words: Sequence[str]) -> dict[KeyPath, str]:
    """Set each word's value in ``tree`` (in place) and return the paths set, each with its word.

    Raises:
        RecipeError: words without ``=``, values that are not YAML, paths through plain values; all at once.
    """
    faults: list[Fault] = []
    given: dict[KeyPath, str] = {}
    for word in _moves(tree, words):
        key, equals, text = word.partition("=")
        if not equals or not key:
            faults.append(
                Fault(f"{_shown(word)!r} is not section.field=value", PLACE, "write for instance optimizer.lr=1e-4")
            )
            continue
        path: KeyPath = tuple(int(part) if part.isdecimal() else part for part in key.strip().split("."))
        try:
            _put(tree, path, parse_scalar(text))
        except RecipeError as error:
            faults.extend(Fault(f"{_shown(word)!r}: {fault.reason}", PLACE, fault.remedy) for fault in error.faults)
            continue
        except (TypeError, KeyError, IndexError):
            faults.append(Fault(f"{key} does not lead to a setting", PLACE, "name a section and a field"))
            continue
        given[path] = word
    if faults:
        raise RecipeError(*faults)
    return given


def _shown(word: str) -> str:
    """A word, as it may be told."""
    key, equals, text = word.partition("=")
    return f"{key}{equals}{redacted(text, key.strip())}"


def _moves(tree: dict[str, Any], words: Sequence[str]) -> Iterator[str]:
    """The words, those that move things spelt out and first, so that a plain word can still say otherwise."""
    for flag, expand in (("--model=", model_words), ("--data=", data_words)):
        for word in words:
            if word.startswith(flag):
                yield from expand(word.removeprefix(flag), tree)
    yield from (word for word in words if not word.startswith(("--model=", "--data=")))


def _put(tree: Any, path: KeyPath, value: Any) -> None:
    for part in path[:-1]:
        if isinstance(part, str) and isinstance(tree, dict):
            if tree.get(part) is None:
                tree[part] = {}
            tree = tree[part]
        else:
            tree = tree[part]
    if not isinstance(tree, dict | list):
        raise TypeError(path)
    tree[path[-1]] = value  # type: ignore[index]
