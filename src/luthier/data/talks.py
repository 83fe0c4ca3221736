"""Plain conversations in bulk: lines of JSON become ids and masks without an object for every turn.

Of most files every row is nothing but turns of a role and a text. Such rows are known by their roles, and all that the
template and the tokenizer have to say of those is said once. Whatever else a row is, it takes the common way, and what
comes out is the same, id by id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson

from luthier.data.block import Block
from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.formats.messages import LISTS
from luthier.data.formats.turns import ROLES
from luthier.data.literal import pattern_of
from luthier.data.origins import Origins
from luthier.data.shapes import Shape, Shaper
from luthier.data.span import Span
from luthier.data.store import Batch
from luthier.data.template import ChatTemplate
from luthier.errors import TemplateError
from luthier.recipe import Recipe
from luthier.recipe.source import Source

MOST = 4096
"""Shapes that are kept."""

_WHERE = {
    *("path", "format", "weight", "files", "name"),
    *("split", "revision", "rows", "skip", "shards", "shard"),
}
"""Settings of a source that say where rows come from, and nothing of what becomes of them."""
_SHARED = {"turn_ends"}
"""Settings that are used here, where all sources of a recipe have the same."""
_READ_OTHERWISE = ("system", "tools")
"""Columns beside the turns that the format reads."""
_SPELLINGS = (("role", "content"), ("from", "value"))

Talk = tuple[tuple[str, ...], list[str]]
"""The roles as they are spelt, and the contents."""


@dataclass(frozen=True, slots=True)
class Told:
    """The documents of a block's plain conversations, and which of its rows they are; ``left`` are the others."""

    batch: Batch
    rows: list[int]
    left: list[int]


class Talks:
    """Makes the ids of plain conversations for one template and encoder."""

    def __init__(
        self, template: ChatTemplate, encoder: Encoder, system: str | None, turn_ends: tuple[str, ...] = ()
    ) -> None:
        words = encoder.words()
        assert words is not None
        self._template, self._system, self._turn_ends, self._words = template, system, turn_ends, words
        self._shaper = Shaper(encoder)
        self._control = pattern_of(encoder.control)
        self._openers = sorted({token[0] for token in encoder.control if token})
        self._shapes: dict[tuple[str, ...], Shape | None] = {}

    @classmethod
    def of(cls, recipe: Recipe, template: ChatTemplate, encoder: Encoder) -> Talks | None:
        """Those of a recipe; None where conversations take the common way."""
        system = recipe.data.system
        plain = recipe.method.kind == "sft" and recipe.data.near_duplicates is None
        rows = recipe.data.train + recipe.data.evaluate + recipe.data.test
        turn_ends = {source.turn_ends for source in rows if source.format == "messages"} or {()}
        if not plain or len(turn_ends) > 1 or (system and (system[0].isspace() or encoder.has_control(system))):
            return None
        words = None if encoder.spaced else encoder.words()
        usable = words is not None and words.cuts.byte_level
        return cls(template, encoder, system or None, *turn_ends) if usable else None

    def told(self, block: Block) -> Told | None:
        """What becomes of the block's plain conversations; None if there are none."""
        read = [_talk(row) if isinstance(row, bytes) else None for row in block.rows]
        odd = self._any_odd([talk for talk in read if talk is not None])
        texts: list[str] = []
        shapes: list[tuple[int, Shape, int]] = []
        for at, talk in enumerate(read):
            if talk is None or (odd and any(map(self._is_odd, talk[1]))):
                continue
            names, contents = talk
            shape = self._shapes[names] if names in self._shapes else self._shape(names)
            if shape is None:
                continue
            if self._system and ROLES[names[0]] != "system":
                contents = [self._system, *contents]
            wanted = shape.texts(contents)
            shapes.append((at, shape, len(wanted)))
            texts += wanted
        if not shapes:
            return None
        rows = [at for at, _, _ in shapes]
        numbers = np.array(block.numbers, np.int64)[rows]
        done = set(rows)
        left = [at for at in range(len(block.rows)) if at not in done] if len(rows) < len(block.rows) else []
        return Told(self._batch(shapes, self._words.encode(texts), block.name, numbers), rows, left)

    def _batch(self, shapes: Iterable[tuple[int, Shape, int]], ids: Sequence[bytes], name: str, numbers: Any) -> Batch:
        """The documents of those shapes, whose texts have these ids."""
        parts: list[bytes] = []
        flags: list[bool] = []
        starts: list[int] = []
        begin = 0
        for _, shape, count in shapes:
            starts.append(len(parts))
            parts += shape.filled(ids[begin : begin + count])
            flags += shape.trained
            begin += count
        lengths = np.fromiter(map(len, parts), np.int64, len(parts)) // 4
        return Batch(
            np.frombuffer(bytearray().join(parts), np.int32),
            np.repeat(np.array(flags, np.bool_), lengths),
            np.add.reduceat(lengths, starts),
            Origins((name,), np.stack([np.zeros_like(numbers), numbers], axis=1)),
            [0] * len(starts),
        )

    def _shape(self, names: tuple[str, ...]) -> Shape | None:
        """The shape of conversations of those roles, spelt as in the rows."""
        shape: Shape | None = None
        if all(name in ROLES for name in names):
            roles = [ROLES[name] for name in names]
            if self._system and roles[0] != "system":
                roles.insert(0, "system")
            with suppress(TemplateError):
                gaps = self._template.gaps(roles, self._turn_ends)
                if gaps is not None:
                    shape = self._shaper.of(gaps, len(roles), partial(self._rendered, roles))
        if len(self._shapes) >= MOST:
            self._shapes.clear()
        self._shapes[names] = shape
        return shape

    def _rendered(self, roles: Sequence[str], contents: Sequence[str]) -> list[Span]:
        messages = (Message(role, content) for role, content in zip(roles, contents, strict=True))
        return self._template.spans(Example(tuple(messages), "data.template", turn_ends=self._turn_ends))

    def _any_odd(self, talks: Sequence[Talk]) -> bool:
        """Whether control tokens may stand in them, or NUL, which the common way refuses by name."""
        return self._is_odd("\n".join(["\n".join(contents) for _, contents in talks]))

    def _is_odd(self, text: str) -> bool:
        if "\0" in text:
            return True
        return any(opener in text for opener in self._openers) and self._control.search(text) is not None


def plain_source(source: Source) -> bool:
    """Whether a source's rows are lists of turns, and nothing about them is asked for."""
    defaults = Source(path=source.path)
    names = set(type(defaults).model_fields) - _WHERE - _SHARED
    return source.format == "messages" and all(getattr(source, name) == getattr(defaults, name) for name in names)


def _talk(line: bytes) -> Talk | None:
    """A row's turns if they are nothing but roles and texts, and none of them begins with white space."""
    try:
        row = orjson.loads(line)
        if len(row) > 1:
            row = _beside(row, line)
        turns = row.get("messages")
        if turns is None:
            turns = next(row[name] for name in LISTS if row.get(name) is not None)
        role, content = _SPELLINGS[0] if "role" in turns[0] else _SPELLINGS[1]
        names: list[str] = []
        contents: list[str] = []
        for turn in turns:
            text = turn[content]
            if len(turn) != 2 or type(text) is not str or text[0].isspace():
                return None
            names.append(turn[role])
            contents.append(text)
        talk = tuple(names), contents
        hash(talk[0])
        return talk if type(turns) is list else None
    except (ValueError, TypeError, LookupError, AttributeError, StopIteration, RecursionError):
        return None


def _beside(row: Any, line: bytes) -> dict[str, Any]:
    """A row of several columns, if none of the others has a say in it; as ``json`` reads it where that might differ.

    Raises:
        ValueError: it takes the common way.
    """
    if any(row.get(name) not in (None, "") for name in _READ_OTHERWISE):
        raise ValueError
    others = (value for name, value in row.items() if name not in LISTS)
    # Numbers may be too long for one of them, and lists too deep; half characters only one lets through.
    if any(isinstance(value, (dict, list, float)) for value in others):
        if b"\\u" in line:
            raise ValueError
        row = json.loads(line.decode())
    if not isinstance(row, dict):
        raise TypeError
    return row
