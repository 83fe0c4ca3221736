"""Words of a shell script: how they are put together, and those that do not say what they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from luthier.dialects.typography import DASHES, INVISIBLE, plain


class Unclear(str):
    """A word that does not say what it means: why, and what to write instead. It is shown as it was written."""

    __slots__ = ("reason", "remedy")

    reason: str
    remedy: str

    def __new__(cls, text: str, reason: str, remedy: str) -> Unclear:
        """The word as written, why it is unclear, and what to write."""
        word = super().__new__(cls, text)
        word.reason, word.remedy = reason, remedy
        return word


_OPAQUE = re.compile(r"\$\{[^}\n]{0,200}\}|\$[@*#?$!0-9-]|\$")
_UNSEEN = re.compile(f"[{INVISIBLE}]")


@dataclass(slots=True)
class Word:
    """One word: its text, or an ``Unclear`` one; its line; whether any of it stood in quotes."""

    text: str
    line: int
    quoted: bool = False


@dataclass(slots=True)
class Parts:
    """The pieces of a word while it is read."""

    line: int
    pieces: list[str] = field(default_factory=lambda: [""])
    quoted: bool = False
    curly: bool = False
    problem: Unclear | None = None
    anything: bool = False

    def add(self, text: str, *, quoted: bool = False) -> None:
        """Go on with the word."""
        self.pieces[-1] += text
        self.quoted |= quoted
        self.anything |= quoted or bool(text)

    def value(self, text: str, *, quoted: bool) -> None:
        """What a variable holds; outside quotes its blanks part words."""
        if isinstance(text, Unclear):
            self.unclear(text, text.reason, text.remedy)
        elif quoted:
            self.add(text, quoted=True)
        else:
            first, *more = re.split(r"[ \t\n]+", text)
            self.add(first)
            for piece in more:
                self.pieces.append("")
                self.add(piece)

    def unclear(self, written: str, reason: str, remedy: str) -> None:
        """Go on with something that has no value here."""
        self.add(written)
        self.problem = self.problem or Unclear(written, reason, remedy)

    def words(self, written: str) -> list[Word]:
        """The words that the pieces make; ``written`` is what stands in the file."""
        if self.problem:
            text = Unclear("".join(self.pieces), self.problem.reason, self.problem.remedy)
            return [Word(text, self.line, self.quoted)]
        made = [Word(piece, self.line, self.quoted) for piece in self.pieces if piece or self.quoted]
        if len(made) == 1:
            shown, repaired = written[:60], plain_dash(made[0].text)
            if self.curly:
                repaired = f'"{repaired}"'
            if repaired != made[0].text:
                made[0].text = Unclear(made[0].text, f"{shown} has typographic quotes or dashes", f"write {repaired}")
            elif not self.quoted and _UNSEEN.search(made[0].text):
                reason = f"{shown!r} holds characters that cannot be seen"
                made[0].text = Unclear(made[0].text, reason, f"write {plain(repaired)}")
        return made


def plain_dash(text: str) -> str:
    """``text`` with the dash at its head and the sign behind a flag, however they were printed, as they are typed.

    >>> plain_dash("\u2014lr\uff1d1"), plain_dash("a\u2014b")
    ('--lr=1', 'a\u2014b')
    """
    head = re.match(rf"[-{DASHES}]+(?=[A-Za-z])", text)
    if head and head.group().strip("-"):
        text = "--" + text[head.end() :]
    sign = re.match(r"--?[A-Za-z][\w-]*\uff1d", text)
    return f"{text[: sign.end() - 1]}={text[sign.end() :]}" if sign else text


def assigned(word: Word, start: int) -> Word:
    """What stands behind ``name=`` in a word."""
    text = word.text[start:]
    if isinstance(word.text, Unclear):
        text = Unclear(text, word.text.reason, word.text.remedy)
    return Word(text, word.line, word.quoted)


def opaque(text: str, at: int) -> int:
    """Length of ``$(…)``, backticks, ``$1``, ``${x%y}``, … at ``at``."""
    if text.startswith("`", at):
        return (text.find("`", at + 1) + 1 or len(text)) - at
    if not text.startswith("$(", at):
        match = _OPAQUE.match(text, at)
        return len(match.group()) if match else 1
    depth = 0
    for index in range(at, len(text)):
        depth += (text[index] == "(") - (text[index] == ")")
        if text[index] == ")" and not depth:
            return index + 1 - at
    return len(text) - at
