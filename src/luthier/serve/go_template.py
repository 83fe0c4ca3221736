"""As much of Go's text templates as chat templates need, to see what Ollama will make of one.

Actions: ``range`` over a list (with index and element), ``if``, ``else if``, ``else``, ``end``, and values: fields,
variables, texts, whole numbers, and ``eq ne gt and or not len slice``. Anything else is refused, never guessed.
https://pkg.go.dev/text/template tells what each means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from luthier.errors import TemplateError

_ACTION = re.compile(r"(\s*)\{\{(-?)\s*(.*?)\s*(-?)\}\}(\s*)", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\(|\)|[^\s()]+')
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": lambda first, *others: first in others,
    "ne": lambda first, other: first != other,
    "gt": lambda first, other: first > other,
    "and": lambda *values: next((one for one in values if not one), values[-1]),
    "or": lambda *values: next((one for one in values if one), values[-1]),
    "not": lambda value: not value,
    "len": len,
    "slice": lambda values, begin=0, end=None: values[begin:end],
}

Part = tuple[str, str]
"""("text" or "action", what it says)"""


def render(source: str, data: Mapping[str, Any]) -> str:
    """What a template writes of some data.

    Raises:
        TemplateError: it uses something that is not known here, or that is not there.
    """
    parts = list(_parts(source))
    try:
        text, rest = _block(parts, 0, {"$": data}, data)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise TemplateError(f"the Go template cannot be followed: {error!r}") from error
    if rest != len(parts):
        raise TemplateError(f"the Go template has {parts[rest][1]!r} where no block is open")
    return text


def _parts(source: str) -> Iterator[Part]:
    """Texts and actions; a minus sign takes away the blanks beside it."""
    done, trim = 0, False
    for found in _ACTION.finditer(source):
        before = source[done : found.start()] + ("" if found[2] else found[1])
        yield "text", before.lstrip() if trim else before
        yield "action", found[3]
        trim, done = bool(found[4]), found.end() - len(found[5])
    yield "text", source[done:].lstrip() if trim else source[done:]


def _block(parts: list[Part], at: int, names: dict[str, Any], dot: Any) -> tuple[str, int]:
    """(what the parts from ``at`` on write, where they end: at an ``else`` or ``end``, or behind the last)."""
    written = ""
    while at < len(parts):
        kind, said = parts[at]
        head = said.split(maxsplit=1)[0] if said.strip() else ""
        if kind == "text":
            written, at = written + said, at + 1
        elif head in ("else", "end"):
            return written, at
        elif head == "if":
            text, at = _if(parts, at, names, dot)
            written += text
        elif head == "range":
            text, at = _range(parts, at, names, dot)
            written += text
        else:
            written, at = written + str(_value(said, names, dot)), at + 1
    return written, at


def _if(parts: list[Part], at: int, names: dict[str, Any], dot: Any) -> tuple[str, int]:
    written, chosen = "", False
    condition: str | None = parts[at][1].removeprefix("if")
    while True:
        holds = not chosen and (condition is None or bool(_value(condition, names, dot)))
        text, at = _block(parts, at + 1, names, dot) if holds else ("", _skipped(parts, at + 1))
        written, chosen = written + text, chosen or holds
        said = parts[at][1]
        if said == "end":
            return written, at + 1
        rest = said.removeprefix("else").strip()
        condition = rest.removeprefix("if") if rest else None


def _range(parts: list[Part], at: int, names: dict[str, Any], dot: Any) -> tuple[str, int]:
    named, _, listed = parts[at][1].removeprefix("range").rpartition(":=")
    keys = [one.strip() for one in named.split(",")] if named else []
    written, end = "", _skipped(parts, at + 1)
    if parts[end][1] != "end":
        raise ValueError("a range has no else here")
    for index, one in enumerate(_value(listed, names, dot)):
        own = dict(zip(keys, (index, one), strict=True)) if keys else {}
        written += _block(parts, at + 1, {**names, **own}, one)[0]
    return written, end + 1


def _skipped(parts: list[Part], at: int) -> int:
    """Where the block that begins at ``at`` ends, not counting blocks inside it."""
    depth = 0
    while True:
        kind, said = parts[at]
        head = said.split(maxsplit=1)[0] if kind == "action" and said else ""
        if not depth and head in ("else", "end"):
            return at
        depth += (head in ("if", "range")) - (head == "end")
        at += 1


def _value(said: str, names: dict[str, Any], dot: Any) -> Any:
    words = _WORD.findall(said)
    value, rest = _call(words, names, dot)
    if rest:
        raise ValueError(f"{said!r} is not understood")
    return value


def _call(words: list[str], names: dict[str, Any], dot: Any) -> tuple[Any, list[str]]:
    if words[0] not in _FUNCTIONS:
        return _term(words, names, dot)
    values, rest = list[Any](), words[1:]
    while rest and rest[0] != ")":
        value, rest = _term(rest, names, dot)
        values.append(value)
    return _FUNCTIONS[words[0]](*values), rest


def _term(words: list[str], names: dict[str, Any], dot: Any) -> tuple[Any, list[str]]:
    first, rest = words[0], words[1:]
    if first == "(":
        value, rest = _call(rest, names, dot)
        if rest[:1] != [")"]:
            raise ValueError("a bracket is not closed")
        return value, rest[1:]
    if first.startswith('"'):
        return json.loads(first), rest
    if first.isdigit():
        return int(first), rest
    name, *fields = first.split(".")
    value = names[name] if name else dot
    for field in fields if first != "." else ():
        value = value[field]
    return value, rest
