"""A page taken apart by the standard library's own parser."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br"}
INLINE = {"span", "b", "i", "code", "small"}


@dataclass
class Element:
    name: str
    attributes: dict[str, str | None]
    language: str | None
    text: str = ""


@dataclass
class Page(HTMLParser):
    """All elements, with their own and their children's text; fails on a tag that is not closed where it should be."""

    source: str
    elements: list[Element] = field(default_factory=list)
    _open: list[Element] = field(default_factory=list)
    _said: list[tuple[str | None, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.source)
        self.close()
        assert not self._open, f"never closed: {[one.name for one in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), f"an attribute twice on {tag}"
        around = self._open[-1].language if self._open else None
        own = attributes.get("lang") if tag != "html" else None
        element = Element(tag, attributes, own or around)
        self.elements.append(element)
        if tag not in INLINE:
            self._said.append((None, " "))
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].name == tag, f"</{tag}> inside <{self._open[-1].name}>"
        self._open.pop()
        if tag not in INLINE:
            self._said.append((None, " "))

    def handle_data(self, data: str) -> None:
        if any(one.name in ("style", "script") for one in self._open):
            return
        for one in self._open:
            one.text += data
        self._said.append((self._open[-1].language if self._open else None, data))

    def those(self, name: str, kind: str | None = None) -> list[Element]:
        """Elements of a name, and of a class."""
        return [
            one
            for one in self.elements
            if one.name == name and (kind is None or kind in (one.attributes.get("class") or "").split())
        ]

    def text(self, language: str = "en") -> str:
        """What a reader of one language sees, white space made single."""
        return " ".join("".join(text for of, text in self._said if of in (None, language)).split())
