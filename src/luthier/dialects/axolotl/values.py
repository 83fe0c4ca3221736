"""How Axolotl's values read: its schema coerces, so ``"2e-5"`` is a number and ``"4"`` a whole one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from luthier.dialects.reading import Outcome
from luthier.dialects.table import Cannot, Effect, Values, applied, inert, refused, replaced

_ODD = {
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"',
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\u2015": "-", "\u2212": "-",
    "\u00a0": " ", "\u3000": " ", "\uff0f": "/", "\uff0d": "-",
}  # fmt: skip
"""Characters that word processors put in the place of plain ones."""

_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt")


def number(value: Any) -> float:
    """A number, also from text.

    >>> number("2e-5")
    2e-05
    """
    found = float("nan") if isinstance(value, bool) else float(value)
    if not math.isfinite(found):
        raise ValueError(value)
    return found


def whole(value: Any) -> int:
    """A whole number, also from text or from a float without a fraction."""
    found = number(value)
    if found != int(found):
        raise ValueError(value)
    return int(found)


def flag(value: Any) -> bool:
    """A truth value; 0 and 1 count."""
    if value in (True, False):
        return bool(value)
    raise ValueError(value)


def text(value: Any) -> str:
    """A text; numbers that stand for one are taken as they are written."""
    if isinstance(value, (dict, list, bool)):
        raise ValueError(value)
    return str(value)


def names(value: Any) -> list[str]:
    """A list of texts; one text is a list of one."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    raise ValueError(value)


def mapping(value: Any) -> dict[str, Any]:
    """A mapping."""
    if not isinstance(value, dict):
        raise ValueError(value)
    return value


def part(value: Any) -> int | float:
    """A share below 1, or a whole number."""
    found = number(value)
    return found if 0 < found < 1 else whole(found)


def plain(value: str) -> str:
    """The name as it was probably meant: plain quotes and dashes, no spaces around slashes and dashes.

    >>> plain("some / model \u2013 7b - hf")
    'some/model-7b-hf'
    """
    for odd, usual in _ODD.items():
        value = value.replace(odd, usual)
    return re.sub(r"\s*([-/])\s*", r"\1", value.strip().strip("'\"")).replace(" ", "-")


def named(target: str, settings: dict[str, Any] | None = None) -> Callable[[Any, Values], Effect]:
    """A directory or hub name; one that typography has damaged is refused with the likely one, and kept as it is."""

    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: left at the default")
        name = text(value)
        made = {target: name, **(settings or {})}
        likely = plain(name)
        local = name.startswith(("/", ".", "~")) or name.count("/") > 1 or name.endswith(_SUFFIXES)
        if name == likely or local:
            return applied(made)
        note = f"{name!r} is no name on the hub; write {likely!r} if it means that, or ./{name} for a folder"
        return Effect(Outcome.REFUSED, made, note)

    return spread


def one_of(key: str, table: dict[Any, Any], remedy: str) -> Callable[[Any], Any]:
    """A converter that looks its value up."""

    def convert(value: Any) -> Any:
        found = table.get(value) if not isinstance(value, (dict, list)) else None
        if found is None:
            raise Cannot(f"{value!r} is not there for {key}", remedy)
        return found

    return convert


def truth(value: Any) -> bool:
    """Whether a key asks for something, for use on keys that may be absent, null, text or a list."""
    return bool(value) and value not in ("false", "no", "off")


def found(values: Values, pattern: str) -> Iterator[Any]:
    """The values of every key that matches a dotted pattern with ``*`` for positions."""
    expression = re.compile(re.escape(pattern).replace(r"\*", r"\d+"))
    return (value for key, value in values.items() if expression.fullmatch(key))


def asks(reason: str, remedy: str, unless: tuple[Any, ...] = (None, False)) -> Callable[[Any, Values], Effect]:
    """A refusal that says the value it met."""

    def spread(value: Any, values: Values) -> Effect:
        return inert("it asks for nothing") if value in unless else refused(f"{value!r}: {reason}", remedy)

    return spread


def instead(note: str) -> Callable[[Any, Values], Effect]:
    """A key whose meaning lives on without a setting of its own."""

    def spread(value: Any, values: Values) -> Effect:
        return replaced({}, note) if truth(value) else inert("it asks for nothing")

    return spread
