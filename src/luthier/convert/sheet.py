"""A dialect's writing side as data: which keys say which settings.

Where a key of the dialect's table says one setting, writing is that row turned round (``said_by``). What several keys
say together, or a key whose meaning depends on others, has a ``Writer``; where it has one, the table is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from luthier.dialects.table import Cannot, Key, Row
from luthier.recipe import Recipe

Keys = Mapping[str, Any]
"""Dotted key -> value; a number in the path is a position in a list."""

TORCH = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "uint8": "uint8"}
"""Our number types by torch's names."""


@dataclass(frozen=True, slots=True)
class Writer:
    """What some settings are written as; an empty mapping where the dialect cannot say them."""

    settings: tuple[str, ...]
    write: Callable[[Recipe], Keys]
    note: str = ""
    """Why the file nevertheless means another value, where that can be told beforehand."""

    def covers(self, setting: str) -> bool:
        """Whether the writer is asked for this setting."""
        return any(setting == one or setting.startswith(one + ".") for one in self.settings)


@dataclass(frozen=True, slots=True)
class Sheet:
    """How a dialect is written: ``always`` names the settings said even where silence means the same."""

    writers: tuple[Writer, ...]
    always: tuple[str, ...]
    render: Callable[[dict[str, Any]], str]
    first: tuple[str, ...] = ()
    """Keys that stand first, in this order; the others follow in the order of the dialect's table."""
    speakable: Callable[[Any], bool] = lambda value: True
    """Whether a value can be put down in such a file at all."""


def value_of(recipe: Recipe, setting: str) -> Any:
    """A setting's plain value by its dotted name."""
    value: Any = recipe.tree()
    for part in setting.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def one(setting: str, key: str, say: Callable[[Any], Any] = lambda value: value, note: str = "") -> Writer:
    """A setting that one key says; ``say`` gives None for a value that it cannot say."""

    def write(recipe: Recipe) -> Keys:
        value = say(value_of(recipe, setting))
        return {} if value is None else {key: neat(value)}

    return Writer((setting,), write, note)


def below(writers: Iterable[Writer], prefix: str) -> tuple[Writer, ...]:
    """The same writers for keys that stand below ``prefix`` (``training_args.``)."""

    def moved(writer: Writer) -> Writer:
        return replace(writer, write=lambda recipe: {prefix + key: v for key, v in writer.write(recipe).items()})

    return tuple(map(moved, writers))


def neat(value: Any) -> Any:
    """A float without a fraction as a whole number, which every converter of numbers takes.

    >>> neat(16.0), neat(2e-5), neat(True)
    (16, 2e-05, True)
    """
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def single_keys(rows: Iterable[Row]) -> Iterator[Key]:
    """The rows of one key and one setting, also those that let another file's word go first."""
    for row in rows:
        while not isinstance(row, Key) and isinstance(inner := getattr(row, "inner", None), Row):
            row = inner
        if isinstance(row, Key) and "*" not in row.name:
            yield row


def said_by(row: Key, value: Any) -> Any:
    """What stands under the row's key so that it reads as ``value``; None where nothing does."""
    candidates = (neat(value), value, TORCH.get(value) if isinstance(value, str) else None, True, False, 0)
    for candidate in candidates:
        try:
            if candidate is not None and _same(row.convert(candidate), value):
                return candidate
        except (Cannot, TypeError, ValueError, AttributeError, KeyError, OverflowError):
            continue
    return None


def _same(read: Any, value: Any) -> bool:
    return bool(read == value) and isinstance(read, bool) == isinstance(value, bool)
