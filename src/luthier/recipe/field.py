"""How a setting is declared: its default and constraints for pydantic, its words for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

Pair = tuple[str, str]


class Section(BaseModel):
    """A part of a recipe: frozen, typed strictly, and without strangers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=False, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class Words:
    """What a setting means to a person. ``up`` and ``down`` say when to raise or lower it (numbers), to turn it on
    or off (switches), or to set or leave it (everything else). ``cost`` is in memory and time, ``history`` what earlier
    systems and versions did, ``misread`` what it is often taken for and is not. Each is (English, Chinese)."""

    en: str
    zh: str
    unit: str = ""
    up: Pair = ("", "")
    down: Pair = ("", "")
    cost: Pair = ("", "")
    history: Pair = ("", "")
    misread: Pair = ("", "")


def setting(
    default: Any = ...,
    *,
    en: str,
    zh: str,
    up: Pair,
    down: Pair,
    unit: str = "",
    cost: Pair = ("", ""),
    history: Pair = ("", ""),
    misread: Pair = ("", ""),
    **rules: Any,
) -> Any:
    """A pydantic field that carries its words; ``rules`` are pydantic's own constraints (``gt``, ``le``, …).

    A class as ``default`` makes a fresh section with that class's own defaults.
    """
    words = Words(en=en, zh=zh, unit=unit, up=up, down=down, cost=cost, history=history, misread=misread)
    extra = {"words": cast(Any, words)}
    if isinstance(default, type):
        return Field(default_factory=default, description=en, json_schema_extra=extra, **rules)
    return Field(default, description=en, json_schema_extra=extra, **rules)


def words_of(info: FieldInfo) -> Words:
    """The words a field was declared with."""
    extra = info.json_schema_extra
    assert isinstance(extra, dict) and isinstance(extra.get("words"), Words), "every field is made by setting()"
    return cast(Words, extra["words"])


def section_class(info: FieldInfo) -> type[Section] | None:
    """The section a field holds (also inside ``X | None`` and ``tuple[X, ...]``), or None for a plain value."""
    pending: list[Any] = [info.annotation]
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, Section):
            return kind
        if get_origin(kind) in (Union, UnionType, tuple, Annotated):
            pending.extend(get_args(kind))
    return None


def fields_of(section: type[Section], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every plain setting below a section with its dotted name, in the order of declaration."""
    for name, info in section.model_fields.items():
        inner = section_class(info)
        if inner is None:
            yield prefix + name, info
        else:
            yield from fields_of(inner, f"{prefix}{name}.")


def _check_every(value: int | float | str) -> int | float | str:
    if isinstance(value, str) and value not in ("epoch", "never"):
        raise ValueError("write a number of steps, a share of the run below 1, 'epoch' or 'never'")
    if isinstance(value, int) and value < 1:
        raise ValueError("a number of steps is at least 1; write 'never' for no such event")
    if isinstance(value, float) and not 0 < value < 1:
        raise ValueError("a share of the run lies between 0 and 1; whole steps are written without a point")
    return value


def _check_part(value: int | float) -> int | float:
    if isinstance(value, float) and value >= 1:
        raise ValueError("a share lies below 1; a number is written without a point")
    return value


def bytes_of(size: str) -> int:
    """A size in KB, MB, GB or TB (powers of 1000), in bytes.

    Raises:
        ValueError: it is no such size, or none at all.

    >>> bytes_of("1.5MB")
    1500000
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT])B", size, re.IGNORECASE)
    number = int(float(found[1]) * 1000 ** (1 + "KMGT".index(found[2].upper()))) if found else 0
    if not number:
        raise ValueError("write a size in KB, MB, GB or TB, such as 5GB")
    return number


def _check_size(value: str) -> str:
    bytes_of(value)
    return value


Part = Annotated[int | float, AfterValidator(_check_part)]
"""So many (int), or a share of the whole (float below 1)."""

Every = Annotated[int | float | str, AfterValidator(_check_every)]
"""When something recurs: n steps (int), a share of the run (float below 1), 'epoch' or 'never'."""

Size = Annotated[str, AfterValidator(_check_size)]
"""Bytes as the hub's library reads them: a number in KB, MB, GB or TB (powers of 1000)."""
