"""A recipe -> the text of another dialect, judged by that dialect's own reader.

Keys are written until the file reads as the recipe, or no key is left that could bring it nearer. What then still
differs is what the dialect cannot say. A key that the reader refuses is taken out again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from luthier.convert.axolotl import AXOLOTL
from luthier.convert.chatglm3 import CHATGLM3
from luthier.convert.differences import Difference, differences, purged
from luthier.convert.firefly import FIREFLY
from luthier.convert.peft_sft import PEFT_SFT
from luthier.convert.sheet import Sheet, Writer, said_by, single_keys, value_of
from luthier.convert.training_arguments import TRAINING_ARGUMENTS
from luthier.convert.written import Missing, Written
from luthier.dialects.document import load_yaml, to_yaml
from luthier.dialects.reading import Outcome, Reading
from luthier.dialects.tabular import TableDialect
from luthier.errors import RecipeError, nearest
from luthier.recipe import Recipe
from luthier.recipe.inert import inert, why_inert
from luthier.recipe.validate import parse
from luthier.registry import resolve

SHEETS: dict[str, Sheet] = {
    "axolotl": AXOLOTL,
    "firefly": FIREFLY,
    "chatglm3": CHATGLM3,
    "peft_sft": PEFT_SFT,
    "training_arguments": TRAINING_ARGUMENTS,
}
DIALECTS = ("luthier", *SHEETS)
"""The dialects that can be written."""

_SOURCE = re.compile(r"(.*\.)(\d+)\.path")


def convert(recipe: Recipe, dialect: str, beside: Path | None = None) -> Written:
    """Write a recipe in a dialect.

    Args:
        recipe: the recipe.
        dialect: one of ``DIALECTS``.
        beside: the folder of the written file, in which files that it names are looked up; None: the current one.

    Raises:
        RecipeError: there is no such dialect.
    """
    if dialect not in DIALECTS:
        near = nearest(dialect, DIALECTS)
        remedy = f"did you mean {near}?" if near else f"choose one of: {', '.join(DIALECTS)}"
        raise RecipeError(f"{dialect!r} cannot be written", place="--to", remedy=remedy)
    clean, gone = purged(recipe)
    if dialect == "luthier":
        text = to_yaml(clean.tree(changed_only=True))
        again = parse(load_yaml(text, dialect).value, lambda path: dialect)
        missing = tuple(Missing(*one, "it cannot be written as YAML") for one in differences(clean, again))
    else:
        reader = resolve("dialects", dialect)
        text, missing = _Writing(clean, SHEETS[dialect], reader, str((beside or Path()) / "converted")).write()
    return Written(dialect, text, (*missing, *gone))


class _Writing:
    """One recipe on its way into one dialect."""

    def __init__(self, recipe: Recipe, sheet: Sheet, reader: TableDialect, name: str) -> None:
        self.recipe = recipe
        self.sheet = sheet
        self.reader = reader
        self.name = name
        self.keys: dict[str, Any] = {}
        self.refused: dict[str, str] = {}
        self.closed: set[str] = set()
        self.singles = list(single_keys(reader.rows))
        names = [name for row in reader.rows for name in row.names]
        self.order = {name: at for at, name in enumerate(dict.fromkeys((*sheet.first, *names)))}

    def write(self) -> tuple[str, tuple[Missing, ...]]:
        """The text, and what it does not say."""
        asked = list(self.sheet.always)
        while True:
            added = [self._add(setting) for setting in asked]
            reading = self._read()
            while self._take_out(reading):
                reading = self._read()
            found = differences(self.recipe, reading.recipe)
            asked = [one.setting for one in found]
            if not any(added) and not any(self._says(setting, dry=True) for setting in asked):
                return self._text(), self._missing(found, reading)

    def _add(self, setting: str) -> bool:
        """Write the keys that say the setting; whether any of them is new."""
        return self._says(setting, dry=False)

    def _says(self, setting: str, *, dry: bool) -> bool:
        new = {
            key: value
            for key, value in self._keys_for(setting).items()
            if key not in self.keys and not self._barred(key) and self.sheet.speakable(value)
        }
        if not dry:
            self.keys |= new
        return bool(new)

    def _barred(self, key: str) -> bool:
        """Whether the key was refused, or stands in a list from which a source was taken out."""
        return key in self.refused or key.startswith(tuple(self.closed))

    def _keys_for(self, setting: str) -> dict[str, Any]:
        writer = self._writer(setting)
        if writer:
            return dict(writer.write(self.recipe))
        for row in self.singles:
            if setting == row.target or setting.startswith(row.target + "."):
                try:
                    said = said_by(row, value_of(self.recipe, row.target))
                except (KeyError, TypeError, ValueError):
                    continue
                if said is not None:
                    return {row.name: said}
        return {}

    def _writer(self, setting: str) -> Writer | None:
        return next((writer for writer in self.sheet.writers if writer.covers(setting)), None)

    def _read(self) -> Reading:
        return self.reader.read(self._text(), self.name, ())

    def _text(self) -> str:
        return self.sheet.render(_nested(sorted(self.keys.items(), key=lambda item: self._rank(item[0]))))

    def _rank(self, key: str) -> tuple[int, tuple[int, ...]]:
        """Where a key stands: by its own row or the nearest above it, positions of lists in their order."""
        parts = key.split(".")
        stars = ["*" if part.isdecimal() else part for part in parts]
        names = (".".join(stars[:end]) for end in range(len(stars), 0, -1))
        at = next((self.order[name] for name in names if name in self.order), len(self.order))
        places = tuple(int(part) for part in parts if part.isdecimal())
        block = self.order.get(f"{parts[0]}.*.path", at) if places else at
        return block, (*places, at)

    def _take_out(self, reading: Reading) -> bool:
        """Take out what the reader refuses or does not know, a source of rows alone at a time; whether any was."""
        before = len(self.keys)
        for account in reading.accounts:
            if account.outcome is Outcome.REFUSED or not (account.known or ": " in account.key):
                for key in [key for key, value in self.keys.items() if _blamed(key, value, account.key)]:
                    if self._drop(key, account.note):
                        return True
        return len(self.keys) < before

    def _drop(self, key: str, note: str) -> bool:
        """Take a key out for good; a source without its path goes whole, and those after it move up: whether so."""
        self.refused[key] = note
        self.keys.pop(key, None)
        source = _SOURCE.fullmatch(key)
        if source is None:
            return False
        stem, gone = source[1], int(source[2])
        self.closed.add(stem)
        kept: dict[str, Any] = {}
        for name, value in self.keys.items():
            index, _, rest = name.removeprefix(stem).partition(".")
            if not name.startswith(stem) or int(index) < gone:
                kept[name] = value
            elif int(index) > gone:
                kept[f"{stem}{int(index) - 1}.{rest}"] = value
        self.keys = kept
        return True

    def _missing(self, found: Iterable[Difference], reading: Reading) -> tuple[Missing, ...]:
        """The differences with their reasons, those that matter first."""
        here, there = inert(self.recipe), inert(reading.recipe)
        named = {target for row in self.reader.rows for target in row.targets}
        listed: list[tuple[bool, Missing]] = []
        for setting, wanted, means in found:
            reason = why_inert(here, setting) if why_inert(there, setting) else ""
            why = f"it cannot matter: {reason}" if reason else self._why(setting, named)
            listed.append((bool(reason), Missing(setting, wanted, means, why)))
        return tuple(one for _, one in sorted(listed, key=lambda item: item[0]))

    def _why(self, setting: str, named: set[str]) -> str:
        keys = self._keys_for(setting)
        note = next((self.refused[key] for key in keys if key in self.refused), "")
        writer = self._writer(setting)
        if note or (writer and writer.note and keys):
            return note or (writer.note if writer else "")
        if any(not self.sheet.speakable(value) for value in keys.values()):
            return "such a file cannot hold this value"
        known = any(_covers(target, setting) for target in named)
        if any(key in self.keys for key in keys):
            return "the nearest that its keys can say"
        return "its keys have no such value" if known else "it has no key for it"


def _covers(target: str, setting: str) -> bool:
    pattern = re.escape(target).replace(r"\*", r"\d+")
    return bool(re.fullmatch(rf"{pattern}(?:\..*)?", setting)) or re.sub(r"\.\d+(?=\.|$)", ".*", target).startswith(
        re.sub(r"\.\d+(?=\.|$)", ".*", setting) + "."
    )


def _blamed(key: str, value: Any, refused: str) -> bool:
    """Whether a refusal is about a written key: about it, what stands above or below it, or the file that it names."""
    file = refused.partition(": ")[0]
    names_file = key.rpartition(".")[2] == file or (isinstance(value, str) and Path(value).name == file)
    return names_file or key == refused or key.startswith(refused + ".") or refused.startswith(key + ".")


def _nested(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Dotted keys as mappings in one another; a number in a path is a position in a list."""
    root: dict[str, Any] = {}
    for dotted, value in items:
        parts = dotted.split(".")
        inner: Any = root
        for part, following in pairwise(parts):
            make: Callable[[], Any] = list if following.isdecimal() else dict
            if isinstance(inner, list):
                while len(inner) <= int(part):
                    inner.append({})
                inner = inner[int(part)]
            else:
                inner = inner.setdefault(part, make())
        inner[parts[-1]] = value
    return root
