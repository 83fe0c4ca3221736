"""Byte-level BPE by the word: a word that was met before is not tokenised again.

Such tokenizers first split a text into words, of which a space is only ever the first character, unless a word is all
white space. So every single space between two characters that are none begins a word, whatever the rest of the
splitting does; there a text can be cut, and the ids of the pieces are those of the whole. Only tokenizers that are
known to split so are taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

LONGEST = 32
"""Characters of a piece that is worth keeping: longer ones hardly come again."""

MOST = 1 << 17
"""Pieces that are kept; when there are more, all are forgotten and it begins anew."""

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_KNOWN = {
    _GPT2,
    *(rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}{_REST}" for digits in ("", "{1,3}")),
}
"""GPT-2's words, Qwen2's and Llama 3's."""

_UNSURE = re.compile(r"\s\s")

Encode = Callable[[Sequence[str]], list[list[int]]]


def splits_at_spaces(tokenizer: Any) -> bool:
    """Whether the tokenizer is one of those described above."""
    tokens = tokenizer.get_added_tokens_decoder().values()
    plain = all(not (one.lstrip or one.rstrip or one.single_word or re.search(r"\s", one.content)) for one in tokens)
    model = json.loads(_state(tokenizer.model)) if type(tokenizer.model).__name__ == "BPE" and plain else None
    if model is None or model.get("dropout") or model.get("continuing_subword_prefix"):
        return False
    normalizer = json.loads(_state(tokenizer.normalizer)) if tokenizer.normalizer is not None else {"type": "NFC"}
    before = json.loads(_state(tokenizer.pre_tokenizer)) if tokenizer.pre_tokenizer is not None else {}
    steps = before.get("pretokenizers", [before])
    return normalizer.get("type") == "NFC" and bool(steps) and _byte_level(steps)


def _state(part: Any) -> bytes:
    state = part.__getstate__()
    return state if isinstance(state, bytes) else b"{}"


def _byte_level(steps: list[dict[str, Any]]) -> bool:
    *first, last = steps
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        return False
    if not all(step.get("type") == "Digits" or _known_split(step) for step in first):
        return False
    return bool(last.get("use_regex")) or any(_known_split(step) for step in first)


def _known_split(step: dict[str, Any]) -> bool:
    pattern = step.get("pattern", {}).get("Regex")
    return (
        step.get("type") == "Split"
        and step.get("behavior") == "Isolated"
        and not step.get("invert")
        and pattern in _KNOWN
    )


class _Known(dict[str, list[int]]):
    """Pieces and their ids; a new one gets a list that is filled later, and is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, piece: str) -> list[int]:
        self.new.append(piece)
        ids: list[int] = []
        self[piece] = ids
        return ids


class Words:
    """The words met so far, with the ids that ``encode`` gave them: those that begin a text, those behind a space."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._first, self._later = _Known(), _Known()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text: those that ``encode`` gives."""
        first, later = self._first.__getitem__, self._later.__getitem__
        parts = [[first(beginning), *map(later, words)] for beginning, words in map(_pieces, texts)]
        new = [*self._first.new, *(" " + word for word in self._later.new)]
        lists = [*map(first, self._first.new), *map(later, self._later.new)]
        for ids, found in zip(lists, self._encode(new) if new else (), strict=True):
            ids.extend(found)
        result = [list(chain.from_iterable(part)) for part in parts]
        self._forget()
        return result

    def _forget(self) -> None:
        for known in (self._first, self._later):
            for piece in known.new:
                if len(piece) > LONGEST:
                    del known[piece]
            known.new.clear()
            if len(known) > MOST:
                known.clear()


def _pieces(text: str) -> tuple[str, list[str]]:
    """The text, cut at every single space between two characters that are none: what comes before the first of them,
    and behind each."""
    if _UNSURE.search(text):
        first, *pieces = _SINGLE.split(text)
        return first, [piece[1:] for piece in pieces]
    first, *pieces = text.split(" ")
    if pieces and not pieces[-1]:
        pieces.pop()
        if pieces:
            pieces[-1] += " "
        else:
            first += " "
    return first, pieces


_SINGLE = re.compile(r"(?<=\S)(?= \S)")
