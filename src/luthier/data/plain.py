"""Any example -> spans -> tokens: conversations through the template, all others past it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Piece
from luthier.data.literal import pattern_of
from luthier.data.parts import has_parts, part_spans
from luthier.data.span import Span
from luthier.data.template import ChatTemplate
from luthier.data.tokens import Tokens, as_document
from luthier.errors import DataError

ROLES = ("system", "user", "assistant", "tool")
"""Every role: pretraining learns them all, also where a format gives its text in pieces."""


def spans_of(
    example: Example, template: Callable[[], ChatTemplate], encoder: Encoder, train_on: Sequence[str]
) -> list[Span]:
    """The spans of an example; ``template`` is called only where a conversation needs it.

    Raises:
        DataError, TemplateError: a conversation that cannot be rendered.
    """
    if example.pieces:
        return piece_spans(example.pieces, encoder, train_on, control=example.control)
    if example.plain:
        return text_spans(example)
    if has_parts(example):
        return part_spans(example, template(), encoder)
    return template().spans(example)


def text_spans(example: Example) -> list[Span]:
    """The spans of a plain document: all of it is learned."""
    return [Span(message.content, trained=True, literal=not example.control) for message in example.messages]


def finished(example: Example, tokens: Tokens, encoder: Encoder) -> Tokens:
    """The tokens of an example's spans with what its kind puts around them; a ready row's own ids.

    Raises:
        DataError: a ready row holds an id that the tokenizer does not have.
    """
    if example.ready is not None:
        largest = max(example.ready.ids)
        if largest >= encoder.vocabulary:
            raise DataError(
                f"holds the id {largest}, and the tokenizer has {encoder.vocabulary}",
                place=example.origin,
                remedy="tokenise the rows with this model's tokenizer",
            )
        ids, trained = np.array(example.ready.ids, np.int32), np.array(example.ready.trained, np.bool_)
        return Tokens(ids, trained, tokens.origin)
    if example.pieces:
        return _framed(tokens, encoder, example) if example.framed else tokens
    if not example.plain:
        return tokens
    return as_document(tokens, encoder, example.end_tokens, special_tokens=example.special_tokens)


def piece_spans(
    pieces: Sequence[Piece], encoder: Encoder, train_on: Sequence[str], *, control: bool = False
) -> list[Span]:
    """The spans of pieces, each apart from the one before.

    A control token in what a row gives is ordinary text, but where ``control`` tokens are what they say.
    """
    found = pattern_of(() if control else encoder.control)
    return [
        Span(text, piece.role in train_on if piece.trained is None else piece.trained, literal, apart=number == 0)
        for piece in pieces
        for number, (text, literal) in enumerate(_literal(piece, found))
    ]


def _literal(piece: Piece, control: re.Pattern[str]) -> Iterator[tuple[str, bool]]:
    """The piece, cut around the control tokens that stand in what the row gave."""
    done = 0
    for found in control.finditer(piece.text):
        if any(begin < found.end() and found.start() < end for begin, end in piece.given):
            if done < found.start():
                yield piece.text[done : found.start()], False
            yield found[0], True
            done = found.end()
    if done < len(piece.text):
        yield piece.text[done:], False


def _framed(tokens: Tokens, encoder: Encoder, example: Example) -> Tokens:
    """The tokens behind the tokenizer's prefix, with end tokens that are learned as what is before them."""
    eos = encoder.id_of("eos_token")
    end = [] if eos is None else [eos] * (example.end_tokens - (tokens.ids[-1:].tolist() == [eos]))
    learned = tokens.trained[-1:].tolist() * len(end)
    prefix = encoder.prefix if example.special_tokens else ()
    return Tokens(
        np.concatenate([np.array(prefix, np.int32), tokens.ids, np.array(end, np.int32)]),
        np.concatenate([np.zeros(len(prefix), np.bool_), tokens.trained, np.array(learned, np.bool_)]),
        tokens.origin,
    )
