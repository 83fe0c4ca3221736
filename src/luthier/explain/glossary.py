"""What the keys are that make no setting here: one TOML file of words for each system, in ``words/``."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from luthier.dialects.table import Row
from luthier.recipe.field import Pair

_ROWS_OF = {"test_datasets.*.": "datasets.*.", "pretraining_dataset.*.": "datasets.*."}
"""Axolotl's lists of data sets have the same keys."""

_SHARED = {
    "chatglm3": ("training_arguments",),
    "firefly": ("training_arguments",),
    "peft_sft": ("training_arguments", "accelerate"),
    "axolotl": ("training_arguments",),
}
"""Whose keys a dialect has beside its own."""

_PREFIXES = ("training_args.", "launcher.")


@cache
def words_in(table: str) -> dict[str, Pair]:
    """The words of a table's file by the name of the row; empty when there is no such file."""
    file = files("luthier.explain") / "words" / f"{table}.toml"
    if not file.is_file():
        return {}
    entries = tomllib.loads(file.read_text(encoding="utf-8"))
    return {name: (str(entry["en"]), str(entry["zh"])) for name, entry in entries.items()}


def key_words(table: str, row: Row) -> Pair | None:
    """What a key is in its own system, where the words say so: the table's own words, then those that it shares."""
    for name in _spellings(row.name):
        for place in (table, *_SHARED.get(table, ())):
            found = words_in(place).get(name) or _by_last_part(place, name, row.name)
            if found is not None:
                return found
    return None


def _spellings(name: str) -> list[str]:
    found = [name]
    found += [name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)]
    found += [new + name.removeprefix(old) for old, new in _ROWS_OF.items() if name.startswith(old)]
    return found


def _by_last_part(place: str, name: str, whole: str) -> Pair | None:
    """The launcher's words are accelerate's keys without their section."""
    if place != "accelerate" or not whole.startswith("launcher."):
        return None
    return next((pair for key, pair in words_in(place).items() if key.rsplit(".", 1)[-1] == name), None)
