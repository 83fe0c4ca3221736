"""The plain format of the seed texts.

A line `[title tag tag]` opens a section; every other line is one alternative; a line `--` closes a group of
alternatives and opens the next; blank lines only please the eye.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Section:
    """One titled section: groups of alternatives, to be used one alternative a group."""

    title: str
    tags: frozenset[str]
    groups: tuple[tuple[str, ...], ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All alternatives, for a section that has no use for groups."""
        return tuple(line for group in self.groups for line in group)


def read_sections(path: Path) -> tuple[Section, ...]:
    """All sections of a seed text, in the order they are written in."""
    sections: list[Section] = []
    for block in ("\n" + path.read_text(encoding="utf-8")).split("\n[")[1:]:
        header, body = block.split("]\n", 1)
        title, *tags = header.split()
        groups = tuple(tuple(line for line in part.splitlines() if line) for part in body.split("\n--\n"))
        sections.append(Section(title, frozenset(tags), groups))
    return tuple(sections)
