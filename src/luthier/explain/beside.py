"""Explanations laid out beside a file's own lines: after them where short enough, else above them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len

from luthier.explain.annotate import Annotated, Line

WIDTH = 110
"""Columns of explanations; a Chinese character takes two. The file's own lines keep theirs."""

BAR = "│ "
"""What explanations start with where a file has no comments."""


@dataclass(frozen=True, slots=True)
class Printed:
    """A line to print: the file's own text, and an explanation after it; or an explanation alone."""

    text: str = ""
    said: str = ""


def beside(file: Annotated) -> Iterator[Printed]:
    """The file with its explanations. Without the parts that are ``said``, it is the file to the letter.

    In YAML they are comments, and the file still means what it meant; elsewhere they stand behind a bar.
    """
    for line in file.lines:
        short = _after(line) if file.comments else ""
        if short:
            yield Printed(line.text, short)
            continue
        yield from (Printed(said=one) for one in _above(line, "# " if file.comments else BAR))
        yield Printed(line.text)


def _texts(line: Line) -> list[str]:
    several = len(line.said) > 1
    return [f"{one.key}: {one.text}" if several else one.text for one in line.said if one.text]


def _after(line: Line) -> str:
    """The explanation as a trailing comment, where there is one, the line is whole, and both fit."""
    texts = _texts(line)
    if len(texts) != 1 or not _is_whole(line.text):
        return ""
    comment = f"  # {texts[0]}"
    return comment if cell_len(line.text + comment) <= WIDTH else ""


def _is_whole(text: str) -> bool:
    """Whether a comment may follow: no comment yet, and no quotes or brackets that might go on."""
    return not re.search(r"[#\\'\"|>]", text) and all(text.count(a) == text.count(b) for a, b in ("[]", "{}"))


def _above(line: Line, mark: str) -> Iterator[str]:
    indent = re.match(r"\s*", line.text)[0].replace("\t", "    ") if line.text.strip() else ""  # type: ignore[index]
    for text in _texts(line):
        for part in wrapped(text, WIDTH - cell_len(indent + mark)):
            yield indent + mark + part


def wrapped(text: str, width: int) -> Iterator[str]:
    """Text in lines of at most ``width`` columns, broken at spaces and between Chinese characters.

    >>> list(wrapped("one two 三四五", 8))
    ['one two', '三四五']
    """
    line = ""
    for piece in re.findall(
        r"[\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]|[^\s\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]+|\s+", text
    ):
        closes = piece in "，。；：、）”？！"
        if line and cell_len(line + piece.rstrip()) > width and not closes:
            yield line.rstrip()
            line = ""
        line += piece if line else piece.lstrip()
    if line.strip():
        yield line.rstrip()
