"""What an account says of a key, in Chinese: a catalogue of notes in ``words/notes*.toml``.

An entry holds a text as the source has it (``en``) and its translation (``zh``). ``{}`` stands for a value that is
filled in, in ``zh`` also ``{0}``, ``{1}`` where the order differs, and ``{:note}`` for one that is itself a text with
an entry. A note may be several such texts, joined by ``"; "``: a reason and its remedy.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import accumulate

JOINT, JOINT_ZH = "; ", "；"
LONGEST, MOST, DEEPEST = 20_000, 12, 3
"""Longer notes, notes of more parts, and texts deeper within others are what somebody wrote, and no texts of ours."""

Known = tuple[int, str]
"""How many characters of a text entries account for (0: none), and the text as it is then told."""

_PLACE = re.compile(r"\{(\d*)(:note)?\}")
_GAP = re.compile(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])")
"""The blank around a value, where the value turned out to be Chinese."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """An entry with placeholders: the texts between them, and the translation."""

    pieces: tuple[str, ...]
    zh: str

    def match(self, text: str) -> tuple[str, ...] | None:
        """What stands at the placeholders, each the shortest from the left; None when the text is another."""
        first, *middle, last = self.pieces
        if len(text) <= sum(map(len, self.pieces)) or not (text.startswith(first) and text.endswith(last)):
            return None
        at, end, found = len(first), len(text) - len(last), []
        for piece in middle:
            next_at = text.find(piece, at, end)
            if next_at < 0:
                return None
            found.append(text[at:next_at])
            at = next_at + len(piece)
        return (*found, text[at:end])

    def filled(self, values: tuple[str, ...], depth: int) -> Known:
        """The translation with ``values`` in it."""
        order = iter(range(len(values)))
        inner = 0

        def value(place: re.Match[str]) -> str:
            nonlocal inner
            given = values[int(place[1]) if place[1] else next(order)]
            if not place[2]:
                return given
            known, text = _read(given, depth + 1)
            inner += known
            return text

        text = _GAP.sub("", _PLACE.sub(value, self.zh)) if ":note" in self.zh else _PLACE.sub(value, self.zh)
        return self.letters + inner, text

    @property
    def letters(self) -> int:
        """How much the entry says itself: its characters, or less than nothing when it has only signs."""
        own = "".join(self.pieces)
        return len(own) if any(map(str.isalpha, own)) else -1


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All entries: exact texts, and those with placeholders."""

    exact: dict[str, str]
    patterns: tuple[Pattern, ...]


@lru_cache(maxsize=1)
def entries() -> tuple[tuple[str, str], ...]:
    """Every (English, Chinese) entry, as the files have them."""
    folder = files("luthier.explain") / "words"
    found = sorted(
        (one for one in folder.iterdir() if re.fullmatch(r"notes.*\.toml", one.name)), key=lambda one: one.name
    )
    read = [tomllib.loads(one.read_text(encoding="utf-8")) for one in found]
    return tuple((entry["en"], entry["zh"]) for file in read for entry in file["note"])


@lru_cache(maxsize=1)
def _catalogue() -> Catalogue:
    patterns = tuple(Pattern(tuple(en.split("{}")), zh) for en, zh in entries() if "{}" in en)
    return Catalogue({en: zh for en, zh in entries() if "{}" not in en}, patterns)


def translated(note: str, lang: str) -> str:
    """A note in the language ``lang`` (en or zh); what is not known stays English.

    >>> translated("MoRA is not there; write adapter: lora", "zh")
    '不支持 MoRA；写 adapter: lora'
    """
    return _read(note)[1] if lang == "zh" else note


@lru_cache(maxsize=4096)
def _read(note: str, depth: int = 0) -> Known:
    """The reading of a note, as one entry or several, that accounts for most of its characters; then of few parts."""
    parts = note.split(JOINT)
    if depth > DEEPEST:
        return 0, note
    if len(note) > LONGEST or len(parts) > MOST:
        return _one(note, depth)
    ends = list(accumulate(len(part) + len(JOINT) for part in parts))
    starts = [0, *ends]
    best: list[tuple[int, int, tuple[str, ...]]] = [(0, 0, ())]
    for end in ends:
        choices = []
        for start, (known, count, told) in zip(starts, best, strict=False):
            found, text = _one(note[start : end - len(JOINT)], depth)
            choices.append((known + found, count - 1, (*told, text)))
        best.append(max(choices, key=lambda choice: choice[:2]))
    known, _, told = best[-1]
    return (known, JOINT_ZH.join(told)) if known else (0, note)


def _one(text: str, depth: int) -> Known:
    """A text as one entry, the one that accounts for most of it."""
    catalogue = _catalogue()
    if text in catalogue.exact:
        return len(text), catalogue.exact[text]
    matched = ((pattern, values) for pattern in catalogue.patterns if (values := pattern.match(text)) is not None)
    told = [(0, text), *(pattern.filled(values, depth) for pattern, values in matched)]
    return max(told, key=lambda one: one[0])
