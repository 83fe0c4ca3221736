"""How much a chat template may do: it is somebody else's program, and may run for ever or fill the memory.

Every step of a template and every text it makes is charged in units before it is done. No clock is read, so that a
template that was allowed once is always allowed for the same conversation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from types import GeneratorType
from typing import Any

from jinja2 import TemplateError as JinjaError

UNITS = 500_000
"""What a rendering may spend, whatever its data: about a second, and 16 million characters."""
PER_CHARACTER, PER_VALUE = 4, 256
"""What it may spend besides for each character and each value in the conversation."""
TEXT = 32
"""Characters that are made or looked through for one unit."""
DEPTH = 400
"""Lists within lists; deeper ones could overrun the stack where they are hashed."""
BITS = 4096
"""Of a whole number."""
WIDTH = 9999
"""Of a field that is filled up."""

_WIDE = re.compile(r"%[^a-zA-Z%]*(?:\*|\d{5})|\{[^{}]*[:!][^{}]*(?:\{|\d{5})")
"""Formats whose fields are wide, or are as wide as an argument says."""

Weight = tuple[int, int]
"""What looking through a value costs, with multiplicity, and how deep it is."""


class Exhausted(JinjaError):
    """The template has done more than its conversation accounts for."""

    def __init__(self) -> None:
        super().__init__("it loops too long, or its text grows too large, for the conversation it was given")


class Meter:
    """Counts the units of one rendering; ``given`` are its variables."""

    def __init__(self, given: Any) -> None:
        self._left = UNITS
        self._given: Any = given
        self._known: dict[int, tuple[Any, Weight]] = {}

    def spend(self, units: int) -> None:
        """Charge for what is to be done.

        Raises:
            Exhausted: there is nothing left.
        """
        self._left -= units
        if self._left < 0:
            self._more()

    def _more(self) -> None:
        """Large conversations may cost more; they are measured when a small one's units are used up."""
        if self._given is not None:
            self._left += _allowance(self._given)
            self._given = None
        if self._left < 0:
            raise Exhausted

    def text(self, characters: int) -> None:
        """Charge for a text before it is made."""
        self.spend(1 + characters // TEXT)

    def read(self, value: Any) -> None:
        """Charge for looking through a value, or writing it as text."""
        if isinstance(value, str):
            self.spend(str.__len__(value) // TEXT)
        elif isinstance(value, (list, tuple, dict)):
            self.spend(self._weight(value)[0])

    def made(self, value: Any) -> Any:
        """Charge for a value that was made; one that gives its items later is charged for each."""
        if isinstance(value, str):
            self.text(str.__len__(value))
        elif isinstance(value, (list, tuple, dict)):
            weight = self._weight(value)[0]
            self.spend(weight)
            self._left += weight - len(value)
        elif isinstance(value, GeneratorType):
            return self.each(value)
        return value

    def each(self, items: Iterable[Any], price: int = 1) -> Iterator[Any]:
        """The items, each charged for."""
        for item in items:
            self.spend(price)
            yield item

    def length(self, value: Any) -> int:
        """How many items or characters a value has; 0 where it has none."""
        if isinstance(value, str):
            return str.__len__(value)
        return len(value) if isinstance(value, (list, tuple, dict, bytes, range)) else 0

    def repeated(self, value: Any, times: int) -> None:
        """Charge for a text or list so many times over."""
        total = self.length(value) * max(times, 0)
        self.spend(1 + (total // TEXT if isinstance(value, (str, bytes)) else total))

    def replaced(self, text: str, old: str, new: str) -> None:
        """Charge for a text in which one is put for another."""
        self.text(str.__len__(text) + str.count(text, old) * str.__len__(new))

    def joined(self, parts: Sequence[Any], between: str = "") -> None:
        """Charge for texts that become one."""
        for part in parts:
            self.read(part)
        self.text(sum(map(self.length, parts)) + len(parts) * str.__len__(between))

    def written(self, form: str, values: Sequence[Any]) -> None:
        """Charge for a format that is filled in.

        Raises:
            JinjaError: one of its fields is wide.
        """
        self.read(form)
        if _WIDE.search(form):
            raise JinjaError(f"a field of a format is wider than {WIDTH} characters, or its width is not written out")
        fields = str.count(form, "%") + str.count(form, "{")
        self.spend(fields * max((self._weight(value)[0] for value in values), default=0))

    def number(self, *values: Any, bits: int = 0) -> None:
        """Refuse numbers with very many digits; ``bits``: of what is made of them.

        Raises:
            JinjaError: there is one.
        """
        if max(bits, *(value.bit_length() for value in values if isinstance(value, int)), 0) > BITS:
            raise JinjaError("a number has too many digits")

    def indented(self, value: Any, width: int) -> None:
        """Charge for JSON with indented lines."""
        weight, depth = self._weight(value)
        self.text(weight * depth * width)

    def _weight(self, value: Any, depth: int = 1) -> Weight:
        """Lists may hold others many times over, so each is looked through once only."""
        if isinstance(value, str):
            return 1 + str.__len__(value) // TEXT, 0
        if not isinstance(value, (list, tuple, dict)):
            return 1, 0
        found = self._known.get(id(value))
        if found is not None:
            return found[1]
        items = [*value, *value.values()] if isinstance(value, dict) else value
        total, deep = 1, 0
        for item in items:
            weight, below = self._weight(item, depth + 1)
            total, deep = total + weight, max(deep, below)
        if deep >= DEPTH:
            raise JinjaError("lists lie in one another too deep")
        self._known[id(value)] = value, (total, deep + 1)
        return total, deep + 1


def _allowance(given: Any) -> int:
    """What a conversation's size adds; anything that is no data counts for nothing."""
    total, waiting = 0, [given]
    while waiting:
        value = waiting.pop()
        total += PER_VALUE
        if isinstance(value, str):
            total += PER_CHARACTER * str.__len__(value)
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, (list, tuple)):
            waiting += value
    return total


METER: ContextVar[Meter] = ContextVar("meter")
"""That of the rendering, or of the compiling, which is under way."""
