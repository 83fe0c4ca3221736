"""Ids -> the text that each stands for."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.data.encoder import Encoder

_PARTIAL = "\N{REPLACEMENT CHARACTER}"
_MOST = 4
"""Bytes of a character in UTF-8 at most, so ids that make one together."""


def pieces_of(ids: Sequence[int], encoder: Encoder) -> list[str]:
    """The text of every id; of ids that make a character together the first has it and the others are empty."""
    anchor = encoder.encode(["a"])[0]
    lead = len(encoder.decode(anchor, skip_control=False))

    def text(part: Sequence[int]) -> str:
        # Behind another token, so that SentencePiece keeps the space that it takes off a text's beginning.
        return encoder.decode([*anchor, *part], skip_control=False)[lead:]

    pieces: list[str] = []
    while len(pieces) < len(ids):
        at = len(pieces)
        longest = min(_MOST, len(ids) - at)
        found = [text(ids[at : at + count]) for count in range(1, longest + 1)] if _PARTIAL in text([ids[at]]) else []
        count = next((number for number, one in enumerate(found, 1) if _PARTIAL not in one), 1)
        pieces += [found[count - 1] if found else text([ids[at]]), *[""] * (count - 1)]
    return pieces


def control_ids(encoder: Encoder) -> frozenset[int]:
    """The ids of the tokenizer's control tokens."""
    return frozenset(encoder.tokenizer.token_to_id(token) for token in encoder.control)
