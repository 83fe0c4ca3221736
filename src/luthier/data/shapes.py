"""Conversations of one shape as ids: what the template writes is tokenised once, and every content by itself.

A text may be tokenised in parts where the tokenizer itself splits it: around its added tokens, and between a line break
and what is no white space. Where the template's text has no such place beside a content, it is tokenised with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from luthier.data.encoder import Encoder
from luthier.data.skeleton import Gap
from luthier.data.span import Span
from luthier.data.tokens import tokenise

Rendered = Callable[[Sequence[str]], list[Span]]

_STAND_INS = ("a", "1", "!", "'s", "\u00e9", "\u4e2d", "\U0001f600")
"""One beginning of a content for everything that words are told apart by."""
_TRIALS = ("The mill's 1st wheel,  broken.\tUsed", "12345 a", "\u00e9t\u00e9 \u4e2d\u6587\u3002\n\nnext", "!?", "x ")


@dataclass(frozen=True, slots=True)
class Fill:
    """A content with the text before and behind it that is tokenised with it; ``stripped`` of white space first."""

    message: int
    before: str
    behind: str
    stripped: bool

    def text(self, contents: Sequence[str]) -> str:
        """The text, filled in."""
        content = contents[self.message]
        return f"{self.before}{content.strip() if self.stripped else content}{self.behind}"


@dataclass(frozen=True, slots=True)
class Shape:
    """The parts of a conversation's ids: ``parts`` as bytes, empty at ``places``, where the ``fills`` belong.

    ``trained`` tells of each part whether it is learned. ``bare``: the fills are the contents as they are, one each.
    """

    parts: list[bytes]
    trained: list[bool]
    places: list[int]
    fills: list[Fill]
    bare: bool

    def texts(self, contents: Sequence[str]) -> Sequence[str]:
        """What has to be tokenised of a conversation."""
        return contents if self.bare else [fill.text(contents) for fill in self.fills]

    def filled(self, ids: Sequence[bytes]) -> list[bytes]:
        """The parts with those ids in their places."""
        parts = self.parts.copy()
        for place, some in zip(self.places, ids, strict=True):
            parts[place] = some
        return parts


class Shaper:
    """Makes shapes for one encoder, whose tokenizer finds words by white space alone."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        tokens = encoder.tokenizer.get_added_tokens_decoder().values()
        self._tokens = [token.content for token in tokens]
        self._apart = tuple(token.content for token in tokens if not token.normalized)
        self._before, self._behind = (
            lru_cache(maxsize=4096)(self._cut_before),
            lru_cache(maxsize=4096)(self._cut_behind),
        )

    def of(self, gaps: Sequence[Gap], count: int, spans: Rendered) -> Shape | None:
        """The shape of conversations of ``count`` messages that fill the gaps; None where there is no telling.

        It stands for contents that do not begin with white space and hold no control token. ``spans`` are those that
        contents have in the common way: some are tried.
        """
        parts: list[bytes] = []
        trained: list[bool] = []
        fills: list[Fill] = []
        places: list[int] = []
        for gap in gaps:
            pieces = self._pieces(gap)
            if pieces is None:
                return None
            for piece in pieces:
                if isinstance(piece, Fill):
                    places.append(len(parts))
                    fills.append(piece)
                parts.append(b"" if isinstance(piece, Fill) else self._ids([piece])[0])
                trained.append(gap.span.trained)
        bare = fills == [Fill(index, "", "", False) for index in range(count)]
        shape = Shape(parts, trained, places, fills, bare)
        return shape if all(self._right(shape, spans, count, shift) for shift in range(len(_TRIALS))) else None

    def _pieces(self, gap: Gap) -> list[str | Fill] | None:
        """The gap's texts and contents; a text that cannot stand alone goes to one of its neighbours."""
        if gap.span.literal:
            return None
        pieces: list[str | Fill] = []
        waiting = gap.texts[0]
        for number, ((index, stripped), text) in enumerate(zip(gap.fills, gap.texts[1:], strict=True)):
            before = "" if self._behind(waiting) else waiting
            pieces += [waiting] if waiting and not before else []
            last = number == len(gap.fills) - 1
            alone, behind = self._before(text), last or (not text.isspace() and self._behind(text))
            if not (alone or behind) or not (text or last):
                return None
            pieces.append(Fill(index, before, "" if alone else text, stripped))
            waiting = text if alone else ""
        return [*pieces, waiting] if waiting else pieces

    def _cut_behind(self, text: str) -> bool:
        """Whether what begins without white space behind the text is tokenised apart from it."""
        if not text:
            return True
        if not text.endswith(("\n", *self._apart)) or self._reaches(text, ahead=True):
            return False
        (own,) = self._ids([text])
        both, alone = self._ids([text + one for one in _STAND_INS]), self._ids(_STAND_INS)
        return all(one == own + other for one, other in zip(both, alone, strict=True))

    def _cut_before(self, text: str) -> bool:
        """Whether the text is tokenised apart from whatever is before it."""
        return not text or (text.startswith(self._apart) and not self._reaches(text, ahead=False))

    def _reaches(self, text: str, *, ahead: bool) -> bool:
        """Whether an added token might stand across the text's end (``ahead``) or its beginning."""
        for token in self._tokens:
            for at in range(1, len(token)):
                inner = token[:at] if ahead else token[at:]
                whole = inner.endswith(text) if ahead else inner.startswith(text)
                if whole or (text.endswith(inner) if ahead else text.startswith(inner)):
                    return True
        return False

    def _right(self, shape: Shape, spans: Rendered, count: int, shift: int) -> bool:
        """Whether a trial comes out as it does in the common way."""
        contents = [_TRIALS[(index + shift) % len(_TRIALS)] + str(index) for index in range(count)]
        parts = shape.filled(self._ids(shape.texts(contents)))
        (expected,) = tokenise([spans(contents)], [""], self._encoder)
        ids = np.frombuffer(b"".join(parts), np.int32)
        trained = np.repeat(shape.trained, [len(part) // 4 for part in parts])
        return np.array_equal(ids, expected.ids) and np.array_equal(trained, expected.trained)

    def _ids(self, texts: Sequence[str]) -> list[bytes]:
        return self._encoder.packed(texts)
