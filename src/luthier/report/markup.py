"""HTML that is escaped by construction: text becomes markup only through ``tag``."""

from __future__ import annotations

import html
import re

VOID = frozenset({"meta", "br"})
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Html(str):
    """Text that is markup already; plain ``str`` is escaped wherever it meets one."""

    __slots__ = ()


Content = str | Html
"""What may stand inside an element; a plain string is text."""


def escaped(content: Content) -> Html:
    """Markup as it is; text with everything escaped, and with what no page may hold (NUL, lone surrogates) replaced.

    >>> escaped("<b>")
    '&lt;b&gt;'
    """
    return content if isinstance(content, Html) else Html(html.escape(_CONTROL.sub("\ufffd", content)))


def joined(*parts: Content, by: str = "") -> Html:
    """Several parts in a row."""
    return Html(escaped(by).join(escaped(part) for part in parts))


def tag(name: str, /, *children: Content, **attributes: str | float | bool | None) -> Html:
    """An element. ``class_`` means class, ``data_x`` data-x; an attribute of None or False is left out.

    >>> tag("p", "1 < 2", class_="note")
    '<p class="note">1 &lt; 2</p>'
    """
    words = "".join(
        f" {_name(key)}" if value is True else f' {_name(key)}="{escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Html(f"<{name}{words}>")
    return Html(f"<{name}{words}>{joined(*children)}</{name}>")


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def table(
    head: list[Content], rows: list[list[Content]], *, figures: frozenset[int] = frozenset(), kind: str = ""
) -> Html:
    """A table in a box of its own, which scrolls when the page is narrower; ``figures`` are columns of numbers."""

    def cell(name: str, column: int, content: Content) -> Html:
        return tag(name, content, class_="figure" if column in figures else None, scope="col" if name == "th" else None)

    top = tag("tr", *(cell("th", column, content) for column, content in enumerate(head)))
    body = (tag("tr", *(cell("td", column, content) for column, content in enumerate(row))) for row in rows)
    inner = tag("table", tag("thead", top) if any(head) else "", tag("tbody", *body))
    return tag("div", inner, class_=f"box {kind}".strip(), tabindex=0)
