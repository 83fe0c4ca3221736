"""Other people's text on a terminal: it is shown, and never obeyed."""

from __future__ import annotations


def visible(text: str) -> str:
    """Text with control characters shown, so that data cannot steer the terminal.

    >>> visible("a\\n\\x1b[31m")
    'a↵\\\\x1b[31m'
    """
    return "".join("↵" if c == "\n" else c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def visible_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines.

    >>> visible_lines("a\\n\\x1b[31m")
    'a\\n\\\\x1b[31m'
    """
    return "\n".join(map(visible, text.split("\n")))
