"""Turns of which only stretches are learned: the stretches are marked before the template sees them, and found after.

A stretch goes as far as the tokens reach that it touches, as Axolotl has it, so that no token is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message, Ranges
from luthier.data.span import Span
from luthier.data.template import ChatTemplate
from luthier.errors import DataError

_PRIVATE = range(0xFFFFD, 0xF0000, -1)
"""Unicode's plane of private characters, from its end; ``literal.py`` takes those from its beginning."""


@dataclass(frozen=True, slots=True)
class _Marks:
    """Private characters that the conversation does not hold: not learned from here on, learned as the turn is."""

    off: str
    on: str

    @classmethod
    def of(cls, example: Example) -> _Marks:
        used = {character for message in example.messages for character in message.content}
        return cls(*islice((chr(point) for point in _PRIVATE if chr(point) not in used), 2))

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(f"[{self.off}{self.on}]")


def has_parts(example: Example) -> bool:
    """Whether a turn of the conversation is learned in stretches."""
    return any(message.learned is not None for message in example.messages)


def part_spans(example: Example, template: ChatTemplate, encoder: Encoder) -> list[Span]:
    """The spans of a conversation, cut at the stretches too. A turn's terminator is learned if the turn is.

    Raises:
        DataError: the template does not write a marked turn as it stands, so that its stretches cannot be found.
        TemplateError: as ``ChatTemplate.spans``.
    """
    marks = _Marks.of(example)
    messages = tuple(_marked(message, marks, encoder) for message in example.messages)
    asked = sum(len(marks.pattern.findall(message.content)) for message in messages)
    spans = template.spans(replace(example, messages=messages))
    if sum(len(marks.pattern.findall(span.text)) for span in spans) != asked:
        raise DataError(
            "the template rewrites a turn that is learned in parts, so they cannot be found in it",
            place=example.origin,
            remedy="learn the whole turn, or use another template",
        )
    return list(_cut(spans, marks))


def _marked(message: Message, marks: _Marks, encoder: Encoder) -> Message:
    """The message with marks where learning begins and ends, inside the white space that templates may strip."""
    text = message.content
    if not message.learned or message.trained is False or not text.strip():
        return message
    first, last = len(text) - len(text.lstrip()), len(text.rstrip())
    marked, done = text[:first], first
    for begin, end in _reaching(text, message.learned, encoder):
        begin, end = max(begin, first), min(end, last)
        if begin < end:
            marked += (marks.off + text[done:begin] + marks.on if begin > done else "") + text[begin:end]
            done = end
    if done < last:
        marked += marks.off + text[done:last] + marks.on
    return replace(message, content=marked + text[last:])


def _reaching(text: str, ranges: Ranges, encoder: Encoder) -> Iterator[tuple[int, int]]:
    """The ranges, widened to the tokens they touch, and joined where they meet.

    A token is taken to begin where the one before it ends: byte-level tokenizers do not count a token's first space.
    """
    ends = sorted({0, len(text), *(end for _, end in encoder.tokenizer.encode(text, add_special_tokens=False).offsets)})
    before: tuple[int, int] | None = None
    for begin, end in ranges:
        wide = max(at for at in ends if at <= begin), min(at for at in ends if at >= end)
        if before is not None and wide[0] <= before[1]:
            wide = before[0], max(before[1], wide[1])
        elif before is not None:
            yield before
        before = wide
    if before is not None:
        yield before


def _cut(spans: list[Span], marks: _Marks) -> Iterator[Span]:
    """The spans without marks, cut where they stood; the first piece of a span that stood apart still does."""
    learned = True
    for span in spans:
        apart = span.apart
        for piece in re.split(f"({marks.pattern.pattern})", span.text):
            if marks.pattern.fullmatch(piece):
                learned = piece == marks.on
            elif piece:
                yield replace(span, text=piece, trained=span.trained and learned, apart=apart)
                apart = False
