"""BPE by the word: a word that was met before is not tokenised again.

Byte-level tokenizers first split a text into words, of which a space is only ever the first character, unless a word
is all white space. So every single space between two characters that are none begins a word, whatever the rest of the
splitting does; there a text can be cut, and the ids of the pieces are those of the whole. Tokenizers like
SentencePiece's have no such words, but where no entry of the vocabulary goes on with a space behind another character,
no merge reaches across it either. Only tokenizers that are known to be of these kinds are taken.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import filterfalse
from typing import Any

LONGEST = 48
"""Characters of a piece that is worth keeping: longer ones hardly come again."""

MOST = 1 << 17
"""Pieces of a kind that are kept; when there are more, all are forgotten and it begins anew."""

MARKS = ".,;:!?"

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_KNOWN = {
    _GPT2,
    *(rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}{_REST}" for digits in ("", "{1,3}")),
}
"""GPT-2's words, Qwen2's and Llama 3's."""

_BLANK = "▁"
"""SentencePiece's space."""
_BEHIND = re.compile(rf"[^{_BLANK}]{_BLANK}")
_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": _BLANK}
_PREPEND = {"type": "Prepend", "prepend": _BLANK}
_SINGLE = re.compile(r"(?<=\S)(?= \S)")

Encode = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True, slots=True)
class Cuts:
    """How the texts of a tokenizer can be cut.

    ``lead`` is what has to stand before a word behind a space for its ids in the middle of a text. ``marks`` are words
    of their own where they stand between a letter and a space, or the end. ``barred``: strings that no piece may begin
    or end with, and ``within``: a character that none may hold; other texts are left whole.
    """

    lead: str = " "
    marks: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()
    within: str = ""

    @property
    def byte_level(self) -> bool:
        """Whether words are found by white space alone."""
        return not self.within


def cuts_of(tokenizer: Any) -> Cuts | None:
    """How the tokenizer's texts can be cut; None if it is not one of those described above."""
    tokens = tokenizer.get_added_tokens_decoder().values()
    plain = all(not (one.lstrip or one.rstrip or one.single_word or re.search(r"\s", one.content)) for one in tokens)
    model = tokenizer.model
    if not plain or type(model).__name__ != "BPE" or model.dropout or model.continuing_subword_prefix:
        return None
    normalizer, before = _tree(tokenizer.normalizer), _tree(tokenizer.pre_tokenizer)
    steps = before.get("pretokenizers", [before])
    if normalizer.get("type", "NFC") == "NFC" and _byte_level(steps):
        return Cuts(marks=tuple(mark for mark in MARKS if not any(mark in one.content for one in tokens)))
    lead = _lead(normalizer, before)
    if lead is None or model.ignore_merges or model.end_of_word_suffix or any(one.normalized for one in tokens):
        return None
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if _BLANK not in vocabulary or any(map(_BEHIND.search, vocabulary)):
        return None
    return Cuts(lead, barred=tuple(one.content for one in tokens), within=_BLANK)


def _tree(part: Any) -> dict[str, Any]:
    tree = json.loads(part.__getstate__()) if part is not None else {}
    return tree if isinstance(tree, dict) else {}


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


def _lead(normalizer: dict[str, Any], before: dict[str, Any]) -> str | None:
    """The lead of a tokenizer that writes ``▁`` for spaces; None if it is none."""
    if before.get("type") == "Metaspace":
        # It puts its space before what does not begin with one, so that a lead of a space always stands for itself.
        return " " if not normalizer and before.get("replacement") == _BLANK else None
    if before and not (before.get("type") == "Split" and before.get("pattern") == _SPACES["pattern"]):
        return None
    if normalizer == _SPACES:
        return " "
    return "" if normalizer.get("normalizers") == [_PREPEND, _SPACES] else None


class _Inner(dict[str, bytes]):
    """Words behind a space and before one. A mark behind a letter is a word of its own, and is added to the letters."""

    def __init__(self, marks: dict[str, bytes]) -> None:
        super().__init__()
        self._marks = marks

    def __missing__(self, word: str) -> bytes:
        if not word[-2:-1].isalpha():
            raise KeyError(word)
        ids = self[word] = dict.__getitem__(self, word[:-1]) + self._marks[word[-1]]
        return ids


class _Last(dict[str, bytes]):
    """Words that end a text: the same and more."""

    def __init__(self, inner: _Inner) -> None:
        super().__init__()
        self._inner = inner

    def __missing__(self, word: str) -> bytes:
        ids = self[word] = self._inner[word]
        return ids


class Words:
    """The words met so far, with the ids that ``encode`` gave them, as the bytes of 32-bit integers.

    Where a word stands decides at which of its ends it may have white space: so those that begin a text, those in its
    midst and those that end it are kept apart, and from all of them what is no such word but a text by itself.
    """

    def __init__(self, encode: Encode, cuts: Cuts) -> None:
        self._encode, self.cuts = encode, cuts
        self._first: dict[str, bytes] = {}
        self._inner = _Inner(dict(zip(cuts.marks, map(packed, encode(cuts.marks)), strict=True)))
        self._last = _Last(self._inner)
        self._whole: dict[str, bytes] = {}

    def encode(self, texts: Sequence[str]) -> list[bytes]:
        """Ids of each text, those that ``encode`` gives, as bytes."""
        first, inner, last, whole = self._first, self._inner.__getitem__, self._last, self._whole
        made: list[bytes] = []
        missed: list[tuple[int, list[str]]] = []
        for text in texts:
            words = text.split(" ")
            try:
                if len(words) > 1:
                    made.append(first[words[0]] + b"".join(map(inner, words[1:-1])) + last[words[-1]])
                else:
                    made.append(whole[text])
            except KeyError:
                missed.append((len(made), words))
                made.append(b"")
        if missed:
            for (at, _), ids in zip(missed, self._met([words for _, words in missed]), strict=True):
                made[at] = ids
        return made

    def _met(self, texts: Sequence[list[str]]) -> list[bytes]:
        """The same for texts, cut at every space, in which something is new or odd."""
        kept = (self._first, self._inner, self._last, self._whole)
        new: tuple[set[str], ...] = (set(), set(), set(), set())
        cut = [self._pieces(words, new) for words in texts]
        new[1].difference_update(new[1] & self._inner.keys())
        asked = [*new[0], *(self.cuts.lead + word for some in new[1:3] for word in some), *new[3]]
        found = map(packed, self._encode(asked) if asked else ())
        for known, some in zip(kept, new, strict=True):
            known.update(zip(some, found))  # noqa: B905 - one stream of ids for all of them
        first, inner, last, whole = (known.__getitem__ for known in kept)
        made = [
            first(pieces[0]) + b"".join(map(inner, pieces[1:-1])) + last(pieces[-1])
            if simple
            else b"".join(map(whole, pieces))
            for pieces, simple in cut
        ]
        for known, some in zip(kept, new, strict=True):
            for piece in some:
                if len(piece) > LONGEST:
                    del known[piece]
            if len(known) > MOST:
                known.clear()
        return made

    def _pieces(self, words: list[str], new: Sequence[set[str]]) -> tuple[list[str], bool]:
        """A text's words, and True; or, where these are not all that matters, the pieces into which it may be cut as
        they stand, and False. What is not known yet is added to ``new``."""
        if len(words) > 1:
            start, *unknown, end = words[0], *filterfalse(self._inner.__contains__, words[1:-1]), words[-1]
            if (
                (start in self._first or self._fits(start, first=True))
                and (end in self._last or self._fits(end, last=True))
                and all(map(self._fits, unknown))
            ):
                new[1].update(map(self._bare, unknown))
                if start not in self._first:
                    new[0].add(start)
                if end not in self._last and end not in self._inner:
                    bare = self._bare(end)
                    new[2 if bare == end else 1].add(bare)
                return words, True
        text = " ".join(words)
        pieces = _SINGLE.split(text) if self.cuts.byte_level else [text]
        new[3].update(filterfalse(self._whole.__contains__, pieces))
        return pieces, False

    def _bare(self, word: str) -> str:
        """The word without the mark at its end that is added when it is looked up."""
        return word[:-1] if word[-1] in self.cuts.marks and word[-2:-1].isalpha() else word

    def _fits(self, word: str, *, first: bool = False, last: bool = False) -> bool:
        """Whether a text may be cut before the word, unless it is the first, and behind it, unless it is the last."""
        cuts = self.cuts
        if not word:
            return False
        if cuts.byte_level:
            return not ((word[0].isspace() and not first) or (word[-1].isspace() and not last))
        ends = (not first and word.startswith(cuts.barred)) or (not last and word.endswith(cuts.barred))
        return cuts.within not in word and not ends


def packed(ids: Iterable[int]) -> bytes:
    """Ids as bytes.

    >>> len(packed([5, 6, 7]))
    12
    """
    return array("i", ids).tobytes()
