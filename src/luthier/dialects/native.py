"""Luthier's own dialect: a YAML 1.2 file whose keys are the recipe's settings."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from luthier.dialects.document import Document, KeyPath, load_yaml
from luthier.dialects.reading import Account, Outcome, Reading
from luthier.dialects.words import PLACE, lay_over
from luthier.errors import RecipeError
from luthier.recipe import Recipe
from luthier.recipe.inert import inert, why_inert
from luthier.recipe.validate import build
from luthier.redaction import redacted


class Native:
    """Reads Luthier's own recipes."""

    name = "luthier"

    def recognises(self, document: Document) -> bool:
        """Whether the file's top level holds nothing but the recipe's sections."""
        return isinstance(document.value, dict) and set(document.value) <= set(Recipe.model_fields)

    def parse(self, text: str, name: str) -> Document:
        """The file as plain values."""
        return load_yaml(text, name)

    def read(self, text: str, name: str, words: Sequence[str]) -> Reading:
        """The recipe written in ``text``, with ``words`` laid over it.

        Raises:
            RecipeError: everything that is wrong in the file and the words.
        """
        document = self.parse(text, name)
        tree: Any = {} if document.value is None else document.value
        if not isinstance(tree, dict):
            raise RecipeError(
                "does not hold settings", place=name, remedy="write sections with settings, as in recipes/*.yaml"
            )
        leaves = deepcopy(list(document.leaves()))
        given = lay_over(tree, words)
        redacted(tree)

        def place_of(path: KeyPath) -> str:
            return PLACE if any(path[: len(word)] == word for word in given) else document.place(path)

        recipe = build(tree, place_of)
        reasons = inert(recipe)
        accounts = [
            _replaced(path, value, document.place(path), word)
            if (word := _word_above(path, given))
            else _account(path, value, document.place(path), reasons)
            for path, value in leaves
            if path not in given
        ]
        accounts += [_account(path, _value(tree, path), PLACE, reasons) for path in given]
        return Reading(self.name, name, recipe, tuple(accounts))


def _word_above(path: KeyPath, given: dict[KeyPath, str]) -> str:
    """The word that set a value which holds ``path``, or an empty string."""
    return next((word for end in range(len(path)) if (word := given.get(path[:end], ""))), "")


def _replaced(path: KeyPath, value: Any, place: str, word: str) -> Account:
    key, above = _dotted(path), word.partition("=")[0]
    return Account(
        key, redacted(value, key), place, Outcome.REPLACED, target=above, note=f"{above} on the command line wins"
    )


def _value(tree: Any, path: KeyPath) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)


def _account(path: KeyPath, value: Any, place: str, reasons: dict[str, str]) -> Account:
    key = _dotted(path)
    reason = why_inert(reasons, key)
    return Account(
        key, redacted(value, key), place, Outcome.INERT if reason else Outcome.APPLIED, target=key, note=reason
    )


NATIVE = Native()
