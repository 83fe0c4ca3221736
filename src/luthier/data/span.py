"""A stretch of a document's text that is tokenised by itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text that is tokenised by itself.

    ``literal``: control tokens in it are ordinary text. ``apart``: it is tokenised as if it began the document, so
    that SentencePiece puts its space before it; otherwise it gets the ids it has behind the span before.
    """

    text: str
    trained: bool
    literal: bool = False
    apart: bool = False
