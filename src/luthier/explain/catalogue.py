"""Every setting of a recipe and every key of every dialect, and which of them mean one another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from pydantic.fields import FieldInfo

from luthier.dialects.accelerate import ACCELERATE_ROWS
from luthier.dialects.deepspeed_rows import DEEPSPEED_ROWS
from luthier.dialects.table import Default, Row
from luthier.recipe import Recipe
from luthier.recipe.field import Section, Words, fields_of, section_class, words_of
from luthier.registry import names, resolve


@dataclass(frozen=True, slots=True)
class Setting:
    """One of our settings, or a section of them."""

    name: str
    info: FieldInfo
    section: bool = False

    @property
    def words(self) -> Words:
        """What it means to a person."""
        return words_of(self.info)


@dataclass(frozen=True, slots=True)
class Table:
    """A dialect, or a companion file of dialects: its keys, and what its silence means."""

    name: str
    rows: tuple[Row, ...]
    defaults: tuple[Default, ...] = ()


@dataclass(frozen=True, slots=True)
class Use:
    """A key of a table that makes a setting; ``first`` when this is its main effect."""

    table: str
    row: Row
    first: bool


@cache
def settings() -> dict[str, Setting]:
    """Every plain setting by its dotted name, in the order of the recipe."""
    return {name: Setting(name, info) for name, info in fields_of(Recipe)}


@cache
def sections() -> dict[str, Setting]:
    """Every section by its dotted name."""

    def walk(section: type[Section], prefix: str) -> Iterator[Setting]:
        for name, info in section.model_fields.items():
            inner = section_class(info)
            if inner is not None:
                yield Setting(prefix + name, info, section=True)
                yield from walk(inner, f"{prefix}{name}.")

    return {one.name: one for one in walk(Recipe, "")}


@cache
def tables() -> tuple[Table, ...]:
    """The dialects that are tables, then the companions that they share."""
    found = [(name, resolve("dialects", name)) for name in names("dialects")]
    return (
        *(Table(name, one.rows, one.defaults) for name, one in found if hasattr(one, "rows")),
        Table("accelerate", ACCELERATE_ROWS),
        Table("deepspeed", DEEPSPEED_ROWS),
    )


def setting_of(target: str) -> Setting | None:
    """The setting that a row's target reaches: list positions do not count, nor keys inside a mapping.

    >>> setting_of("data.train.*.path").name, setting_of("parallel.fsdp_config.hybrid").name
    ('data.train.path', 'parallel.fsdp_config')
    """
    name = plain_name(target)
    while name:
        found = settings().get(name) or sections().get(name)
        if found is not None:
            return found
        name = name.rpartition(".")[0]
    return None


def plain_name(dotted: str) -> str:
    """A dotted name without list positions."""
    return ".".join(part for part in dotted.split(".") if part != "*" and not part.isdecimal())


def made_by(row: Row) -> tuple[Setting, ...]:
    """The settings that a row may make, each once; first the one that the key is named after, if there is one."""
    found = {one.name: one for target in row.targets if (one := setting_of(target)) is not None}
    words = set(row.name.replace("_", ".").split("."))
    return tuple(sorted(found.values(), key=lambda one: one.name.rsplit(".", 1)[-1] not in words))


@cache
def _uses() -> dict[str, tuple[Use, ...]]:
    found: dict[str, list[Use]] = {}
    for table in tables():
        for row in table.rows:
            for position, one in enumerate(made_by(row)):
                found.setdefault(one.name, []).append(Use(table.name, row, position == 0))
    return {name: tuple(uses) for name, uses in found.items()}


def uses_of(name: str) -> tuple[Use, ...]:
    """The keys of other systems that make a setting."""
    return _uses().get(name, ())


def defaults_of(name: str) -> list[tuple[str, str, object, str]]:
    """What each table's silence makes of a setting: table, its own key, our value, note."""
    found = []
    for table in tables():
        for default in table.defaults:
            for target, value in default.settings.items():
                reached = setting_of(target)
                if reached is not None and reached.name == name:
                    found.append((table.name, default.name, value, default.note))
    return found


def row_of(table: Table, key: str) -> Row | None:
    """The row of a key as a file has it (list positions are stars in rows)."""
    starred = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", key)
    return next((row for row in table.rows if starred in row.names), None)
