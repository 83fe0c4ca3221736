"""Control tokens that stand in data as text are hidden from the template, so that it cannot take them for its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from luthier.data.example import Example

_PRIVATE = range(0xF0000, 0xFFFFE)
"""Unicode's plane of private characters, which templates do not write."""


def pattern_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the tokens, the longest one first, as tokenizers do.

    >>> pattern_of(["<a>", "<a>b"]).findall("<a>b <a>")
    ['<a>b', '<a>']
    """
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")


@dataclass(frozen=True, slots=True)
class Literals:
    """A private character for each control token in the data of one conversation; none of them is in the data."""

    marks: dict[str, str]

    @classmethod
    def of(cls, example: Example, control: re.Pattern[str]) -> Literals:
        """Those of a conversation; none where its tokens are what they say."""
        if example.control:
            return cls({})
        texts = list(texts_in(example))
        found = sorted({token for text in texts for token in control.findall(text)})
        used = {character for text in texts for character in text} if found else set()
        free = (chr(point) for point in _PRIVATE if chr(point) not in used)
        return cls(dict(zip(found, islice(free, len(found)), strict=True)))

    def hide(self, example: Example) -> Example:
        """The conversation with private characters in the place of the tokens."""
        if not self.marks:
            return example
        control = pattern_of(self.marks)

        def hidden(text: str) -> str:
            return control.sub(lambda match: self.marks[match[0]], text)

        messages = (
            replace(
                message,
                content=hidden(message.content),
                tool_calls=_changed(message.tool_calls, hidden),
                fields=_changed(message.fields, hidden),
            )
            for message in example.messages
        )
        return replace(example, messages=tuple(messages), tools=_changed(example.tools, hidden))

    def pieces(self, text: str) -> Iterator[tuple[str, bool]]:
        """A hidden text with its tokens back: pieces of it, and whether each is a token that is ordinary text.

        >>> list(Literals({"<end>": "*"}).pieces("say * or <end>"))
        [('say ', False), ('<end>', True), (' or <end>', False)]
        """
        tokens = {mark: token for token, mark in self.marks.items()}
        for piece in re.split(f"({pattern_of(tokens).pattern})", text):
            if piece:
                yield tokens.get(piece, piece), piece in tokens

    def shown(self, text: str) -> str:
        """A hidden text as it reads."""
        return "".join(piece for piece, _ in self.pieces(text))


def texts_in(example: Example) -> Iterator[str]:
    """Every text that a row gave, whatever stands around it; of a pair, the better side's."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return text

    for message in example.messages:
        yield message.content
        _changed(message.tool_calls, keep)
        _changed(message.fields, keep)
    _changed(example.tools, keep)
    yield from found


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """Plain values with every text in them changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_changed(key, change): _changed(inner, change) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_changed(inner, change) for inner in value)
    return value
