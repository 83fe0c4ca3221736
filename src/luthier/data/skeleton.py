"""Conversations of the same shape are rendered once, and filled in afterwards.

Most templates put a message's content into the text as it is, or stripped, and look at nothing but its role. Where a
template shows to be so, the rendering of one conversation tells that of all others with the same roles. It is shown in
three ways, and any doubt leaves the template to be rendered for every conversation:

* the contents of a trial are strings that take note when anything but adding, printing and stripping is done to them;
* the template's code makes no strings that escape this watch (``~``, macros, filters) and then looks at them;
* filled with contents that no escaping or changing of case would leave alone, the skeleton is what is rendered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import nodes

from luthier.data.example import Example
from luthier.data.jinja import tree_of
from luthier.data.span import Span
from luthier.errors import TemplateError

Cut = Callable[..., list[Span]]
Shape = tuple[Any, ...]

MOST = 4096
"""Shapes that are kept."""

_FIRST = 0x100000
"""Where the private characters begin that stand for contents: two for each message, the second for it stripped."""
_PLACE = re.compile(f"([{chr(_FIRST)}-{chr(0x10FFF0)}])")
_ODD = " \"Ab\\'c\n<&>\t%s{{ x }}{}1é\x7f中 "
"""Changed by whatever escapes, quotes, cases or formats a text."""

_FREE = {"__add__", "__radd__", "__class__", "__doc__", "__init__", "__init_subclass__", "__new__", "__subclasshook__"}
_FREE |= {"__getattribute__", "__setattr__", "__delattr__", "__dir__", "__getnewargs__", "__str__", "__sizeof__"}
_FREE |= {"strip", "__reduce__", "__reduce_ex__", "__getstate__"}


class _Watched(str):
    """A content that takes note of who looks at it. It counts as true, as contents that are not blank do."""

    __slots__ = ("looked", "stripped")
    looked: list[str]
    stripped: str

    @classmethod
    def of(cls, text: str, looked: list[str], stripped: str = "") -> _Watched:
        made = cls(text)
        made.looked, made.stripped = looked, stripped
        return made

    def __bool__(self) -> bool:
        return True

    def __add__(self, other: str) -> _Watched:
        return _Watched.of(str(self) + str(other), self.looked)

    def __radd__(self, other: str) -> _Watched:
        return _Watched.of(str(other) + str(self), self.looked)

    def strip(self, characters: str | None = None, /) -> str:
        if characters is None and self.stripped:
            return _Watched.of(self.stripped, self.looked, self.stripped)
        self.looked.append("strip")
        return str(self).strip(characters)


def _watching(name: str) -> Callable[..., Any]:
    plain = getattr(str, name)

    def method(self: _Watched, *arguments: Any, **named: Any) -> Any:
        self.looked.append(name)
        return plain(self, *arguments, **named)

    return method


for _name in set(dir(str)) - _FREE:
    setattr(_Watched, _name, _watching(_name))


@dataclass(frozen=True, slots=True)
class Gap:
    """A span whose text is ``texts`` with contents between them: each the index of a message, and whether stripped."""

    texts: tuple[str, ...]
    fills: tuple[tuple[int, bool], ...]
    span: Span

    @classmethod
    def of(cls, span: Span) -> Gap:
        """Of a span with private characters for contents."""
        parts = _PLACE.split(span.text)
        marks = [ord(mark) - _FIRST for mark in parts[1::2]]
        return cls(tuple(parts[::2]), tuple((mark // 2, bool(mark % 2)) for mark in marks), span)

    def filled(self, contents: Sequence[str]) -> Span:
        """The span of these contents."""
        if not self.fills:
            return self.span
        text = self.texts[0]
        for (index, stripped), after in zip(self.fills, self.texts[1:], strict=True):
            text += (contents[index].strip() if stripped else contents[index]) + after
        return Span(text, self.span.trained, self.span.literal, self.span.apart)


class Skeletons:
    """The skeletons of one template; ``cut`` renders a conversation and cuts it into spans, ``control`` finds tokens
    that may not stand in a content."""

    def __init__(self, source: str, cut: Cut, control: re.Pattern[str]) -> None:
        self._cut, self._control = cut, control
        self._open = _escapes_nothing(tree_of(source))
        self._known: dict[Shape, list[Gap] | None] = {}

    def spans(self, example: Example, trained: Sequence[bool], *, generate: bool) -> list[Span] | None:
        """The spans of a conversation; None where they have to be rendered."""
        if not self._open or example.tools:
            return None
        contents = [message.content for message in example.messages]
        for message in example.messages:
            text = message.content
            if message.tool_calls or message.fields or not text or text.isspace() or self._control.search(text):
                return None
        gaps = self.gaps(example, trained, generate=generate)
        return None if gaps is None else [gap.filled(contents) for gap in gaps]

    def gaps(self, example: Example, trained: Sequence[bool], *, generate: bool = False) -> list[Gap] | None:
        """The skeleton of conversations of these roles that hold nothing else but contents; None if there is none."""
        if not self._open:
            return None
        shape = (generate, *trained, *(message.role for message in example.messages))
        if shape not in self._known:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[shape] = self._skeleton(example, trained, generate)
        return self._known[shape]

    def _skeleton(self, example: Example, trained: Sequence[bool], generate: bool) -> list[Gap] | None:
        looked: list[str] = []
        count = len(example.messages)
        watched = [_Watched.of(chr(_FIRST + 2 * index), looked, chr(_FIRST + 2 * index + 1)) for index in range(count)]
        odd = _odd(count)
        try:
            gaps = [Gap.of(span) for span in self._cut(_with(example, watched), trained, generate=generate)]
            noticed = bool(looked)
            rendered = self._cut(_with(example, odd), trained, generate=generate)
        except TemplateError:
            return None
        same = [gap.filled(odd) for gap in gaps] == rendered
        return gaps if same and not noticed else None


def gaps_of(cut: Cut, example: Example, trained: Sequence[bool], *, stripped: bool) -> list[Gap] | None:
    """The skeleton that ``cut`` gives where it is known to look at no content; ``stripped`` if it strips them all."""
    count = len(example.messages)
    try:
        marked = cut(_with(example, [chr(_FIRST + 2 * index + stripped) for index in range(count)]), trained)
        rendered = cut(_with(example, _odd(count)), trained)
    except TemplateError:
        return None
    gaps = [Gap.of(span) for span in marked]
    return gaps if [gap.filled(_odd(count)) for gap in gaps] == rendered else None


def _odd(count: int) -> list[str]:
    return [f"{index}{_ODD * (index % 3 + 1)}" if index % 2 else f"{_ODD}{index}\n" for index in range(count)]


def _with(example: Example, contents: Sequence[str]) -> Example:
    messages = zip(example.messages, contents, strict=True)
    return replace(example, messages=tuple(replace(message, content=text) for message, text in messages))


_MAKERS = (nodes.Concat, nodes.Mod, nodes.Call, nodes.Filter)
_LOOKERS = (nodes.Filter, nodes.Test, nodes.Compare, nodes.Call, nodes.Getattr, nodes.Getitem, nodes.Assign)


def _escapes_nothing(tree: nodes.Template) -> bool:
    """Whether no string that is made unwatched is looked at, or kept to be."""
    if any(tree.find_all((nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.AssignBlock, nodes.Include))):
        return False
    tests: list[nodes.Node] = [*(one.test for one in tree.find_all(nodes.If))]
    tests += [one.test for one in tree.find_all(nodes.CondExpr)]
    lookers = [inner for looker in tree.find_all(_LOOKERS) for inner in looker.iter_child_nodes()]
    return not any(map(_makes, [*tests, *lookers]))


def _makes(node: nodes.Node) -> bool:
    return any(not _harmless(one) for one in [node, *node.find_all(_MAKERS)] if isinstance(one, _MAKERS))


def _harmless(node: nodes.Node) -> bool:
    """Stripping keeps the watch; a namespace holds what it was given."""
    if isinstance(node, nodes.Filter):
        return node.name == "trim" and not node.args
    if isinstance(node, nodes.Call):
        called = node.node
        named = isinstance(called, nodes.Name) and called.name in ("namespace", "raise_exception", "range")
        return named or (isinstance(called, nodes.Getattr) and called.attr == "strip" and not node.args)
    return False
