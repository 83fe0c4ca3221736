"""A name -> what it means: of a setting, of any system's key of any year, or of a value."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from luthier.dialects import names as hugging_face
from luthier.dialects.firefly import TEMPLATES
from luthier.dialects.table import Row
from luthier.errors import RecipeError
from luthier.explain.catalogue import Setting, made_by, plain_name, sections, settings, tables
from luthier.explain.glossary import key_words
from luthier.explain.limits import choices
from luthier.recipe.field import Pair
from luthier.registry import names

CLOSEST = 4
"""How many near names a wrong one gets."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a table, as it was asked for."""

    table: str
    row: Row
    name: str


@dataclass(frozen=True, slots=True)
class Meaning:
    """One meaning of a name: a setting of ours, or a key that makes none (then ``own`` says what it is)."""

    setting: Setting | None
    keys: tuple[Key, ...] = ()
    own: Pair | None = None
    value: bool = False
    """Whether the name is a value of the setting rather than its name."""


def look_up(name: str, dialect: str | None = None) -> list[Meaning]:
    """Every meaning of a name, in all tables or in one.

    Raises:
        RecipeError: nothing is called so; the nearest names are suggested.
    """
    asked = name.strip().lstrip("-").replace("-", "_") if name.startswith("-") else name.strip()
    found = [*_settings(asked, dialect), *_keys(asked, dialect)]
    found = found or list(_keys(asked, dialect, capitals=False)) or list(_values(asked))
    merged: dict[object, Meaning] = {}
    for one in found:
        meaning = one.setting.name if one.setting else one.own or one.keys
        same = merged.get(meaning)
        merged[meaning] = one if same is None else replace(same, keys=(*same.keys, *one.keys))
    if not merged:
        near = nearest_names(asked)
        raise RecipeError(
            f"{asked!r} is no setting, no key and no value that is known here",
            remedy=f"did you mean {', '.join(near)}?" if near else "luthier read FILE shows the keys of a file",
        )
    return list(merged.values())


def nearest_names(name: str) -> list[str]:
    """Known names like ``name``, the likest first; whole dotted names only where ``name`` is one."""
    known = set(settings()) | {one.rsplit(".", 1)[-1] for one in settings()}
    known |= {one for table in tables() for row in table.rows for one in row.names}
    known |= {one.rsplit(".", 1)[-1] for one in known}
    like = (one for one in known if ("." in one) == ("." in name) and abs(len(one) - len(name)) <= 0.3 * len(name) + 1)
    return difflib.get_close_matches(name.lower(), sorted(like), n=CLOSEST, cutoff=0.7)


def _settings(asked: str, dialect: str | None) -> Iterator[Meaning]:
    """Our own names: a whole one, or where none is whole, its last parts (``rank`` of ``adapter.rank``)."""
    if dialect not in (None, "luthier"):
        return
    everything = {**sections(), **settings()}
    wanted = plain_name(asked)
    if wanted in everything:
        yield Meaning(everything[wanted])
        return
    for name, setting in settings().items():
        if name.endswith("." + wanted):
            yield Meaning(setting)


def _keys(asked: str, dialect: str | None, *, capitals: bool = True) -> Iterator[Meaning]:
    for table in tables():
        if dialect not in (None, table.name):
            continue
        for row, name in _matching(table.rows, asked, capitals):
            made = made_by(row)
            key = Key(table.name, row, name)
            if made:
                yield Meaning(made[0], (key,))
            else:
                yield Meaning(None, (key,), key_words(table.name, row))


def _matching(rows: tuple[Row, ...], asked: str, capitals: bool) -> list[tuple[Row, str]]:
    """The rows so called: exactly, or else by the last parts of their names."""
    wanted = ".".join("*" if part.isdecimal() else part for part in asked.split("."))
    named = [(row, name) for row in rows for name in row.names]
    if not capitals:
        wanted = wanted.lower()
    exact = [(row, name) for row, name in named if (name if capitals else name.lower()) == wanted]
    ending = "." + wanted
    return exact or [(row, name) for row, name in named if (name if capitals else name.lower()).endswith(ending)]


def _values(asked: str) -> Iterator[Meaning]:
    small = asked.lower()
    for name, setting in settings().items():
        if small in (*choices(setting.info), *_open_choices(name)):
            yield Meaning(setting, value=True)


def _open_choices(name: str) -> tuple[str, ...]:
    """Words of settings that also take a user's own."""
    known: dict[str, tuple[str, ...]] = {
        "method.kind": (*names("methods"), "dpo", "ipo", "kto", "orpo", "simpo", "cpo", "reward"),
        "adapter.kind": ("qlora", "full", "p_tuning", "prefix_tuning"),
        "optimizer.kind": (*names("optimizers"), *hugging_face.OPTIMIZERS),
        "schedule.kind": (*names("schedules"), *hugging_face.SCHEDULES),
        "data.template": ("chatml", "alpaca", "plain", *TEMPLATES),
        "data.train.format": tuple(names("formats")),
        "evaluate.metrics": tuple(names("metrics")),
    }
    return known.get(name, ())
