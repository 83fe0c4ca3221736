"""JSON as plain values, with the line on which every key stands.

YAML 1.2 is no stand-in: it refuses tabs as indentation, ``\\/`` and surrogate pairs, all of which JSON allows.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from math import isfinite
from typing import Any

from luthier.dialects.document import DEEPEST, MOST_NODES, Document, KeyPath
from luthier.errors import Fault, RecipeError

_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None}
_STRINGS = json.JSONDecoder()
_LOOK = "look at this line and the one above"


def load_json(text: str, name: str) -> Document:
    """Parse JSON; ``name`` is how places call the file.

    Raises:
        RecipeError: bad syntax, duplicate keys, numbers out of range, too many values or too deep nesting.
    """
    return _Reader(text, name).document()


class _Reader:
    """One pass over the text; notes the line of every key and item."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.place = Document(name, None)
        self.breaks = [match.start() for match in re.finditer("\n", text)]
        self.faults: list[Fault] = []
        self.nodes = 0

    def document(self) -> Document:
        """The whole text, which holds one value."""
        value, at = self._value(self._skip(0), ())
        if at != len(self.text):
            raise self._error("text after the end of the value", at)
        if self.faults:
            raise RecipeError(*self.faults)
        self.place.value = value
        return self.place

    def _value(self, at: int, path: KeyPath) -> tuple[Any, int]:
        """The value that starts at ``at``, and where the next token starts."""
        self.nodes += 1
        if self.nodes > MOST_NODES or len(path) > DEEPEST:
            raise self._error(f"more than {MOST_NODES} values or {DEEPEST} levels", at, "make it smaller")
        self.place.lines.setdefault(path, self._line(at))
        first = self.text[at : at + 1]
        if first == "{":
            return self._members(self._skip(at + 1), path)
        if first == "[":
            return self._items(self._skip(at + 1), path)
        value, end = self._scalar(at)
        return value, self._skip(end)

    def _members(self, at: int, path: KeyPath) -> tuple[dict[str, Any], int]:
        result: dict[str, Any] = {}
        if self.text.startswith("}", at):
            return result, self._skip(at + 1)
        while True:
            if not self.text.startswith('"', at):
                raise self._error("a key in double quotes is missing", at)
            key, start = self._string(at)
            inner = (*path, key)
            if key in result:
                first = self.place.lines[inner]
                self._fault(f"{key[:60]!r} is written twice (first on line {first})", at, "keep one of them")
            self.place.lines[inner] = self._line(at)
            start = self._skip(start)
            if not self.text.startswith(":", start):
                raise self._error("':' is missing", start)
            result[key], at = self._value(self._skip(start + 1), inner)
            at, done = self._next(at, "}")
            if done:
                return result, at

    def _items(self, at: int, path: KeyPath) -> tuple[list[Any], int]:
        result: list[Any] = []
        if self.text.startswith("]", at):
            return result, self._skip(at + 1)
        while True:
            value, at = self._value(at, (*path, len(result)))
            result.append(value)
            at, done = self._next(at, "]")
            if done:
                return result, at

    def _next(self, at: int, closing: str) -> tuple[int, bool]:
        """Past a comma (more follows) or the closing bracket (done)."""
        found = self.text[at : at + 1]
        if found not in (",", closing) or not found:
            raise self._error(f"',' or {closing!r} is missing", at)
        after = self._skip(at + 1)
        if found == "," and self.text.startswith(closing, after):
            raise self._error("nothing follows the last ','", at, "remove that ','")
        return after, found == closing

    def _scalar(self, at: int) -> tuple[Any, int]:
        if self.text.startswith('"', at):
            return self._string(at)
        for word, value in _WORDS.items():
            if self.text.startswith(word, at):
                return value, at + len(word)
        match = _PLAIN.match(self.text, at)
        if match is None:
            shown = self.text[at : at + 20].split("\n")[0]
            raise self._error(f"{shown!r} is no value" if shown else "a value is missing", at)
        return self._number(match), match.end()

    def _number(self, match: re.Match[str]) -> int | float:
        digits = match.group()
        if len(digits) > 400 or not isfinite(float(digits)):
            self._fault(f"{digits[:40]} is too large a number", match.start(), "write a smaller one")
            return 0
        return float(digits) if match[1] or match[2] else int(digits)

    def _string(self, at: int) -> tuple[str, int]:
        try:
            found, end = _STRINGS.raw_decode(self.text, at)
        except json.JSONDecodeError as error:
            raise self._error(error.msg, error.pos) from None
        if any("\ud800" <= letter <= "\udfff" for letter in found):
            self._fault("a text holds half a character (a lone surrogate)", at, "write the character itself")
            found = found.encode("utf-8", "replace").decode()
        return found, end

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        assert match is not None
        return match.end()

    def _line(self, at: int) -> int:
        return bisect_right(self.breaks, at - 1) + 1

    def _fault(self, reason: str, at: int, remedy: str) -> None:
        self.faults.append(Fault(reason, f"{self.place.name}:{self._line(at)}", remedy))

    def _error(self, reason: str, at: int, remedy: str = _LOOK) -> RecipeError:
        return RecipeError(f"is not JSON: {reason}", place=f"{self.place.name}:{self._line(at)}", remedy=remedy)
