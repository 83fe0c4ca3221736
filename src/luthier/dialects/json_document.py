"""JSON as plain values, with the line on which every key stands.

YAML 1.2 is no stand-in: it refuses tabs as indentation, ``\\/`` and surrogate pairs, all of which JSON allows.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from math import isfinite
from typing import Any

from luthier.dialects.document import DEEPEST, MOST_NODES, Document, KeyPath, bounded
from luthier.dialects.typography import (
    DOUBLE_QUOTES,
    INVISIBLE,
    MARKS,
    MOST,
    SINGLE_QUOTES,
    SPACES,
    called,
    control_faults,
    key_problem,
)
from luthier.errors import Fault, RecipeError

_SPACE = re.compile(r"[ \t\n\r]*")
_ODD_SPACE = re.compile(rf"[{SPACES}{INVISIBLE}]|//[^\n]*|/\*.*?\*/|#[^\n]*", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None}
_ALMOST = {"True": "true", "False": "false", "None": "null", "NaN": "null", "Infinity": "null", "-Infinity": "null"}
_QUOTE = f"'{SINGLE_QUOTES}{DOUBLE_QUOTES}"
_ALMOST_STRING = re.compile(f'[{_QUOTE}]([^{_QUOTE}"\n]*)[{_QUOTE}"]')
_STRINGS = json.JSONDecoder()
_LOOK = "look at this line and the one above"


def load_json(text: str, name: str) -> Document:
    """Parse JSON; ``name`` is how places call the file.

    Raises:
        RecipeError: bad syntax, duplicate or unreadable keys, numbers out of range, too many values or keys, too deep
            nesting. What is clearly meant (a full-width colon, True, a comment) does not hide what is wrong after it.
    """
    return bounded(_Reader(text, name).document())


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
        try:
            value, at = self._value(self._skip(0), ())
            if at != len(self.text):
                raise self._error("text after the end of the value", at, "keep one value; remove what follows it")
        except RecipeError as error:
            raise RecipeError(*self.faults[:MOST], *error.faults) from None
        if self.faults:
            raise RecipeError(*self.faults[:MOST])
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
            key, start = self._key(at)
            inner = (*path, key)
            if key in result:
                first = self.place.lines[inner]
                self._fault(f"{key[:60]!r} is written twice (first on line {first})", at, "keep one of them")
            self.place.lines[inner] = self._line(at)
            start = self._skip(start)
            if self._mark(start) != ":":
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
        found = self._mark(at)
        if found not in (",", closing) or not found:
            raise self._error(f"',' or {closing!r} is missing", at)
        after = self._skip(at + 1)
        if found == "," and self.text.startswith(closing, after):
            self._fault("is not JSON: nothing follows the last ','", at, "remove that ','")
            return self._skip(after + 1), True
        return after, found == closing

    def _mark(self, at: int) -> str:
        """The punctuation at ``at``, also where it is a full-width one, which is a fault."""
        found = self.text[at : at + 1]
        if found in MARKS:
            self._fault(f"is not JSON: {called(found)} stands for {MARKS[found]!r}", at, f"write {MARKS[found]}")
        return MARKS.get(found, found)

    def _key(self, at: int) -> tuple[str, int]:
        if not self.text.startswith('"', at) and not _ALMOST_STRING.match(self.text, at):
            raise self._error("a key in double quotes is missing", at, 'write "key": value')
        key, end = self._string(at)
        if problem := key_problem(key):
            self._fault(problem[0], at, problem[1])
        return key, end

    def _scalar(self, at: int) -> tuple[Any, int]:
        if self.text.startswith('"', at) or _ALMOST_STRING.match(self.text, at):
            return self._string(at)
        for word, value in _WORDS.items():
            if self.text.startswith(word, at):
                return value, at + len(word)
        for word, meant in _ALMOST.items():
            if self.text.startswith(word, at):
                self._fault(f"is not JSON: {word} is no value", at, f"write {meant}, or a number")
                return _WORDS[meant], at + len(word)
        match = _NUMBER.match(self.text, at)
        if match is None:
            shown = self.text[at : at + 20].split("\n")[0]
            remedy = "put text in double quotes" if shown else _LOOK
            raise self._error(f"{shown!r} is no value" if shown else "a value is missing", at, remedy)
        return self._number(match), match.end()

    def _number(self, match: re.Match[str]) -> int | float:
        digits = match.group()
        if len(digits) > 400 or not isfinite(float(digits)):
            self._fault(f"{digits[:40]} is too large a number", match.start(), "write a smaller one")
            return 0
        return float(digits) if match[1] or match[2] else int(digits)

    def _string(self, at: int) -> tuple[str, int]:
        if almost := _ALMOST_STRING.match(self.text, at):
            inner = almost[1]
            self._fault(f"is not JSON: {almost.group()[:40]} stands in other quotes", at, f'write "{inner[:40]}"')
            return inner, almost.end()
        try:
            found, end = _STRINGS.raw_decode(self.text, at)
        except json.JSONDecodeError as error:
            line = self.text[error.pos : error.pos + 200].split("\n")[0]
            if controls := control_faults(line, "") if "control" in error.msg else []:
                raise self._error(controls[0].reason, error.pos, "remove it") from None
            unfinished = "control" in error.msg or "Unterminated" in error.msg
            reason = "Unterminated string: a quote is not closed on its line" if unfinished else error.msg
            raise self._error(
                reason, error.pos, "close it; a line break in it is \\n" if unfinished else _LOOK
            ) from None
        if any("\ud800" <= letter <= "\udfff" for letter in found):
            self._fault("a text holds half a character (a lone surrogate)", at, "write the character itself")
            found = found.encode("utf-8", "replace").decode()
        return found, end

    def _skip(self, at: int) -> int:
        """Past blanks; past what JSON does not take for them too, which is a fault."""
        while True:
            match = _SPACE.match(self.text, at)
            assert match is not None
            odd = _ODD_SPACE.match(self.text, match.end())
            if odd is None:
                return match.end()
            what = "a comment" if odd.group()[0] in "/#" else called(odd.group())
            if len(self.faults) <= MOST:
                self._fault(f"is not JSON: {what} stands here", match.end(), "remove it")
            at = odd.end()

    def _line(self, at: int) -> int:
        return bisect_right(self.breaks, at - 1) + 1

    def _fault(self, reason: str, at: int, remedy: str) -> None:
        self.faults.append(Fault(reason, f"{self.place.name}:{self._line(at)}", remedy))

    def _error(self, reason: str, at: int, remedy: str = _LOOK) -> RecipeError:
        return RecipeError(f"is not JSON: {reason}", place=f"{self.place.name}:{self._line(at)}", remedy=remedy)
