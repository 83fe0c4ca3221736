"""A row's tokens with the reason for each: every character is given its owner, and every token its first character."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.making import Maker
from luthier.data.plain import ROLES, spans_of
from luthier.data.preference import fitting, is_judged
from luthier.data.span import Span
from luthier.data.tokens import Fate, Tokens, fit, tokenise
from luthier.errors import DataError
from luthier.recipe import Recipe
from luthier.show.judged import judged_reasons
from luthier.show.reason import Reason
from luthier.show.rows import Found

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Explained:
    """A row: its rendering, its tokens before any cut, and the reason for each of them."""

    spans: list[Span]
    tokens: Tokens
    reasons: list[Reason]

    def fitted(self, recipe: Recipe) -> tuple[Fate, list[tuple[Tokens, Ints]]]:
        """The row's fate, and the documents that remain, each with the place in ``tokens`` of every one of its own."""
        numbers = np.arange(len(self.tokens), dtype=np.int32)
        numbered, judged = replace(self.tokens, ids=numbers), fitting(recipe)
        fate, parts = judged(numbered) if judged else fit(numbered, recipe.data.max_length, recipe.data.overlong)
        return fate, [(replace(part, ids=self.tokens.ids[part.ids]), part.ids.astype(np.int64)) for part in parts]

    def reasons_of(self, part: Tokens, places: Ints) -> list[Reason]:
        """The reasons for the tokens of a document that remains."""
        found: list[Reason] = []
        for at, place in enumerate(places.tolist()):
            lost = bool(self.tokens.trained[place]) and not part.trained[at]
            found.append(Reason("beginning_lost") if lost else self.reasons[place])
        return found


def explain(found: Found, recipe: Recipe, encoder: Encoder) -> Explained:
    """A row on its way to tokens, with reasons.

    Raises:
        DataError: the row cannot be rendered.
    """
    example, maker = found.example, Maker(recipe, encoder)
    tokens = maker.examples([example])[0].documents()[0]
    if example.ready is not None:
        return Explained([], tokens, [Reason("labels" if one else "labels_off") for one in tokens.trained])
    train_on = ROLES if recipe.method.kind == "pretrain" else recipe.data.train_on
    spans = spans_of(example, maker.template, encoder, train_on)
    if is_judged(example):
        return Explained(spans, tokens, judged_reasons(tokens))
    inner = tokenise([spans], [example.origin], encoder)[0]
    reason = _reason_of_pieces(found, recipe) if example.plain else _reason_of_turns(found, recipe, encoder, maker)
    inside = [
        reason(place, bool(trained))
        for place, trained in zip(_places(spans, inner, encoder), inner.trained, strict=True)
    ]
    before = len(encoder.prefix) if len(tokens) > len(inner) else 0
    after = [Reason("end" if one else "end_off") for one in tokens.trained[before + len(inner) :]]
    return Explained(spans, tokens, [*[Reason("tokenizer")] * before, *inside, *after])


def _places(spans: Sequence[Span], tokens: Tokens, encoder: Encoder) -> list[int]:
    """Where in the rendering each token begins."""
    starts = [0, *accumulate(len(span.text) for span in spans)]
    of_span = _span_of_each(spans, encoder)
    places: list[int] = []
    for number, span in enumerate(spans):
        ids = tokens.ids[of_span == number].tolist()
        before = "" if not number or span.apart else spans[number - 1].text
        places += [starts[number] + start for start in _starts(span, ids, before, encoder)]
    return places


def _span_of_each(spans: Sequence[Span], encoder: Encoder) -> Ints:
    """Which span each token comes from: its number in binary, read off the masks of documents that spell it."""
    bits = range(max(1, len(spans).bit_length()))
    spelt = [[replace(span, trained=bool(number >> bit & 1)) for number, span in enumerate(spans)] for bit in bits]
    masks = [tokens.trained.astype(np.int64) for tokens in tokenise(spelt, [""] * len(spelt), encoder)]
    return sum((mask << bit for bit, mask in zip(bits, masks, strict=True)), np.zeros(len(masks[0]), np.int64))


def _starts(span: Span, ids: list[int], before: str, encoder: Encoder) -> list[int]:
    """Where in the span the text of each of its tokens begins, its first spaces left out, as they often belong to what
    is before it (``USER: Where``); all at 0 where the tokenizer does not tell.
    """
    leads = ["", "\n", *(token for token in encoder.control if before.endswith(token))]
    encoder.tokenizer.encode_special_tokens = span.literal
    try:
        for lead in leads:
            encoding = encoder.tokenizer.encode(lead + span.text, add_special_tokens=False)
            if ids and encoding.ids[-len(ids) :] == ids:
                whole = lead + span.text
                return [max(0, _past_spaces(whole, *offset) - len(lead)) for offset in encoding.offsets[-len(ids) :]]
    finally:
        encoder.tokenizer.encode_special_tokens = False
    return [0] * len(ids)


def _past_spaces(text: str, begin: int, end: int) -> int:
    token = text[begin:end]
    return begin + len(token) - len(token.lstrip(" ")) if token.strip(" ") else begin


def _reason_of_pieces(found: Found, recipe: Recipe) -> Callable[[int, bool], Reason]:
    """Of a plain document, or of one that its format put together from pieces."""
    example = found.example
    if not example.pieces:
        return lambda place, trained: Reason("document")
    ends = np.cumsum([len(piece.text) for piece in example.pieces])

    def reason(place: int, trained: bool) -> Reason:
        at = int(np.searchsorted(ends, place, side="right"))
        piece, own = example.pieces[at], found.own.pieces[at]
        kind = _kind(own.trained, piece.trained, trained)
        return Reason(kind, at + 1, piece.role, ", ".join(recipe.data.train_on))

    return reason


def _reason_of_turns(found: Found, recipe: Recipe, encoder: Encoder, maker: Maker) -> Callable[[int, bool], Reason]:
    added = bool(recipe.data.system) and found.example.messages[0].role != "system"
    system = (Message("system", recipe.data.system or ""),) if added else ()
    messages = (*system, *found.example.messages)
    own = (*system, *found.own.messages)
    owners, ending = _owners(replace(found.example, messages=messages, ends="turn"), encoder, maker)
    roles = recipe.data.train_on
    wanted = [one.role in roles if one.trained is None else one.trained for one in messages]
    last = max((index for index, flag in enumerate(wanted) if flag), default=-1)

    def reason(place: int, trained: bool) -> Reason:
        at = int(owners[place]) if place < len(owners) else -1
        if "template" in roles:
            return Reason("whole")
        if at < 0:
            return Reason("template")
        kind = _kind(own[at].trained, messages[at].trained, trained)
        if trained and ending[place]:
            kind = "terminator" if wanted[at] else "terminator_too"
        elif ending[place] and wanted[at] and found.example.ends != "turn":
            kind = "terminator_off"
        elif trained and messages[at].learned is not None:
            kind = "stretch"
        elif not trained and wanted[at]:
            kind = "earlier_turn" if recipe.data.last_turn_only and at < last else "stretch_off"
        elif added and not at and not trained:
            kind = "system"
        return Reason(kind, at + 1 - added, messages[at].role, ", ".join(roles))

    return reason


def _kind(own: bool | None, asked: bool | None, trained: bool) -> str:
    """Who decided: the row for itself, else its source, else data.train_on."""
    if own is not None:
        return "row" if trained else "row_off"
    if asked is not None:
        return "source" if trained else "source_off"
    return "role" if trained else "other_role"


def _owners(example: Example, encoder: Encoder, maker: Maker) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """For each character of the rendering its turn (-1: the template's own), and whether it is of the turn's end token.

    The template itself tells: it is asked for the mask as if one turn alone were learned, once for each.
    """
    whole = tuple(replace(message, trained=False, learned=None) for message in example.messages)
    text = "".join(span.text for span in maker.template().spans(replace(example, messages=whole)))
    owners, ending = np.full(len(text), -1, np.int64), np.zeros(len(text), np.bool_)
    for index, message in enumerate(whole):
        alone = (*whole[:index], replace(message, trained=True), *whole[index + 1 :])
        try:
            spans = maker.template().spans(replace(example, messages=alone))
        except DataError:
            # A template that cannot tell where this turn begins: it stays with the template's own text.
            continue
        if "".join(span.text for span in spans) != text:
            continue
        begin = 0
        for span in spans:
            if span.trained:
                owners[begin : begin + len(span.text)] = index
                token = max((one for one in encoder.control if span.text.endswith(one)), key=len, default="")
                stop = begin + len(span.text)
                ending[begin:stop] = False
                if token and not span.literal:
                    ending[stop - len(token) : stop] = True
            begin += len(span.text)
    return owners, ending
