"""Values as Hugging Face's argument classes take them: numbers and switches that may be written as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from luthier.dialects.document import Document
from luthier.dialects.json_document import load_json
from luthier.dialects.table import Cannot, Default, Gather, Row, Spread, Values
from luthier.errors import RecipeError

_SWITCHES = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}


def shown(value: Any, width: int = 60) -> str:
    """A value as a message shows it: as Python writes it, cut where it is long.

    >>> shown("a" * 100, 10)
    "'aaaaaaaa…"
    """
    written = repr(value[: 2 * width] if isinstance(value, str | list | tuple) else value)
    return written if len(written) <= width else written[: width - 1] + "…"


def number(value: Any) -> float:
    """A number, also one written as text, such as YAML 1.1's ``2e-5``."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Cannot(f"{shown(value)} is not a number", "write one, for instance 2e-5")
    try:
        found = float(value)
    except (ValueError, OverflowError):
        raise Cannot(f"{shown(value)} is not a number", "write one, for instance 2e-5") from None
    if found != found or found in (float("inf"), float("-inf")):
        raise Cannot(f"{shown(value)} is not finite", "write a finite number")
    return found


def whole(value: Any) -> int:
    """A whole number; ``1.0`` is one."""
    found = number(value)
    if found != int(found):
        raise Cannot(f"{shown(value)} is not a whole number", "write it without a fraction")
    return int(found)


def flag(value: Any) -> bool:
    """A switch, also one written as text."""
    found = _SWITCHES.get(str(value).strip().lower()) if isinstance(value, bool | int | str) else None
    if found is None:
        raise Cannot(f"{shown(value)} is neither true nor false", "write true or false")
    return found


def text(value: Any) -> str:
    """A text; a number is its digits."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Cannot(f"{shown(value)} is not a text", "write it in quotes")
    return str(value)


def mapping(value: Any) -> dict[str, Any]:
    """Settings by name: a mapping, JSON text, or ``a=1,b=2``."""
    if isinstance(value, str):
        value = _from_text(value.strip())
    if not isinstance(value, dict):
        raise Cannot(f"{shown(value)} does not hold settings by name", 'write {"name": value}')
    return {str(key): inner for key, inner in value.items()}


def _from_text(written: str) -> Any:
    if written.startswith("{"):
        try:
            return load_json(written, "the text").value
        except RecipeError as error:
            raise Cannot(f"the text is not JSON: {error.faults[0].reason}", 'write {"name": value}') from None
    pairs = [pair.partition("=") for pair in written.replace(" ", "").split(",") if pair]
    if not all(key and equals for key, equals, _ in pairs):
        raise Cannot(f"{shown(written)} does not hold settings by name", "write name=value,name=value")
    return {key: _scalar(value) for key, _, value in pairs}


def _scalar(written: str) -> Any:
    try:
        found = number(written)
    except Cannot:
        return {"true": True, "false": False, "none": None}.get(written.lower(), written)
    return int(found) if written.lstrip("+-").isdecimal() else found


def prefixed_rows(rows: tuple[Row, ...], prefix: str) -> tuple[Row, ...]:
    """The same rows for keys that stand below ``prefix`` (``training_args.``), each seeing its neighbours by name."""
    return tuple(_prefixed(row, prefix) for row in rows) if prefix else rows


def _prefixed(row: Row, prefix: str) -> Row:
    name, old = prefix + row.name, tuple(prefix + one for one in row.old)
    if isinstance(row, Spread):
        spread = row.spread
        return replace(row, name=name, old=old, spread=lambda value, values: spread(value, _below(values, prefix)))
    if isinstance(row, Gather):
        gather = row.gather
        return replace(row, name=name, old=old, gather=lambda values: gather(_below(values, prefix)))
    return replace(row, name=name, old=old)


def prefixed_defaults(defaults: tuple[Default, ...], prefix: str) -> tuple[Default, ...]:
    """The same defaults for keys below ``prefix``."""

    def one(default: Default) -> Default:
        when = default.when
        return replace(default, name=prefix + default.name, when=lambda values: when(_below(values, prefix)))

    return tuple(one(default) for default in defaults) if prefix else defaults


def _below(values: Values, prefix: str) -> Mapping[str, Any]:
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


def masked(document: Document, *names: str) -> Document:
    """The document without the secrets that stand under ``names`` (dotted), so that no account can show them."""
    for name in names:
        *above, last = name.split(".")
        inner = document.value
        for part in above:
            inner = inner.get(part) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and inner.get(last):
            inner[last] = "<masked>"
    return document
