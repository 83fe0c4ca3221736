"""Reads any dialect that is a table: every key of the file finds its row, every row leaves an account."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from luthier.dialects.document import Document, KeyPath, load_yaml
from luthier.dialects.plain_values import shown
from luthier.dialects.reading import Account, Outcome, Reading
from luthier.dialects.table import Cannot, Default, Effect, Row, Values, inert, refused
from luthier.dialects.words import PLACE, lay_over
from luthier.errors import Fault, RecipeError, nearest
from luthier.recipe.contradictions import contradictions
from luthier.recipe.inert import inert as inert_settings
from luthier.recipe.inert import why_inert
from luthier.recipe.validate import parse
from luthier.redaction import SECRET, redacted

MOST_HINTS = 50
"""Unknown keys for which the nearest known one is looked for; a file with more of them is not this dialect's."""


@dataclass(frozen=True, slots=True)
class Companion:
    """Another file that a file names, with its own table; its keys are accounted for under ``prefix``."""

    document: Document
    rows: tuple[Row, ...]
    prefix: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A key of a file as its table sees it."""

    path: KeyPath
    value: Any
    place: str
    row: Row | None
    prefix: str = ""
    names: tuple[str, ...] = ()
    """All keys that its table knows."""

    @property
    def key(self) -> str:
        """The dotted key, as accounts show it."""
        return self.prefix + ".".join(map(str, self.path))

    @property
    def shown(self) -> Any:
        """The value, as accounts may show it: secrets are not written anywhere."""
        return redacted(self.value, self.key if SECRET.search(self.key) else "")


def _no_companions(document: Document, folder: Path) -> list[Companion]:
    return []


def _yaml(text: str, name: str) -> Document:
    return load_yaml(text, name, version="1.1")


@dataclass(frozen=True, slots=True)
class TableDialect:
    """A dialect: its rows, what its silence means, how its files are parsed and known.

    ``complete`` is called with the settings that keys and defaults have made, for what a whole file implies.
    """

    name: str
    rows: tuple[Row, ...]
    defaults: tuple[Default, ...] = ()
    parse: Callable[[str, str], Document] = _yaml
    recognises: Callable[[Document], bool] = lambda document: False
    companions: Callable[[Document, Path], list[Companion]] = _no_companions
    complete: Callable[[dict[str, Any]], None] = field(default=lambda settings: None)

    def read(self, text: str, name: str, words: Sequence[str]) -> Reading:
        """The recipe that a file means, with ``words`` laid over it.

        Raises:
            RecipeError: the file cannot be parsed, or a value is out of its setting's range; all such faults.
        """
        document = self.parse(text, name)
        if not isinstance(document.value, dict):
            raise RecipeError("does not hold settings", place=name, remedy=f"give a file of the dialect {self.name}")
        redacted(document.value)
        units = list(units_of(document, self.rows, ""))
        for companion in self.companions(document, Path(name).parent):
            units += units_of(companion.document, companion.rows, companion.prefix)
        values: Values = {unit.key: unit.value for unit in units}
        unknown = [unit for unit in units if unit.row is None]
        hints = {unit.key: nearest(".".join(map(str, unit.path)), unit.names) for unit in unknown[:MOST_HINTS]}
        settings: dict[str, Any] = {}
        places: dict[str, str] = {}
        accounts = [self._account(unit, values, hints, settings, places) for unit in units]
        spoken = {account.key for account in accounts if account.outcome is Outcome.REFUSED}
        defaults = list(self._silence(values, spoken, settings, places, name))
        self.complete(settings)
        tree: dict[str, Any] = {}
        for target, value in sorted(settings.items()):
            _put(tree, target.split("."), value)
        given = lay_over(tree, words)

        def place_of(path: KeyPath) -> str:
            if any(path[: len(word)] == word for word in given):
                return PLACE
            dotted = [".".join(map(str, path[:end])) for end in range(len(path), 0, -1)]
            return next((places[one] for one in dotted if one in places), name)

        recipe = parse(tree, place_of)
        reasons = inert_settings(recipe)
        accounts = [_overruled(account, unit, given) for unit, account in zip(units, accounts, strict=True)] + [
            one for one in defaults if not all(_given(target, given) for target in one.target.split(", "))
        ]
        accounts = [_checked(account, reasons) for account in accounts]
        for word_path, word in given.items():
            target = ".".join(map(str, word_path))
            accounts.append(
                Account(target, redacted(word.partition("=")[2], target), PLACE, Outcome.APPLIED, target=target)
            )
        faults = tuple(
            Fault(f"{key}: {reason}", place_of(tuple(key.split("."))), remedy)
            for key, reason, remedy in contradictions(recipe)
        )
        return Reading(self.name, name, recipe, tuple(accounts), faults)

    def _account(
        self,
        unit: Unit,
        values: Values,
        hints: Mapping[str, str | None],
        settings: dict[str, Any],
        places: dict[str, str],
    ) -> Account:
        effect = self._effect(unit, values, hints)
        stars = [str(part) for part in unit.path if isinstance(part, int)]
        targets: list[str] = []
        for pattern, value in effect.settings.items():
            target = _fill(pattern, stars)
            if target in settings and settings[target] != value:
                effect = refused(
                    f"it says {value!r} for {target}, and {places[target]} says {settings[target]!r}", "keep one"
                )
                break
            settings[target], places[target] = value, unit.place
            targets.append(target)
        target, known = ", ".join(targets), unit.row is not None
        return Account(unit.key, unit.shown, unit.place, effect.outcome, target, effect.note, known)

    def _effect(self, unit: Unit, values: Values, hints: Mapping[str, str | None]) -> Effect:
        if unit.row is None:
            known = hints.get(unit.key)
            whose = unit.prefix.rstrip(": ") or self.name
            return inert(f"not a key of {whose}" + (f"; did you mean {known}?" if known else ""))
        try:
            return unit.row.effect(unit.value, values)
        except Cannot as reason:
            return refused(str(reason))
        except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError):
            return refused(f"{shown(unit.shown)} is not a value that {unit.key} takes", "see luthier explain")

    def _silence(
        self, values: Values, spoken: set[str], settings: dict[str, Any], places: dict[str, str], name: str
    ) -> Iterator[Account]:
        for default in self.defaults:
            made = {target: value for target, value in default.settings.items() if target not in settings}
            if made and default.name not in spoken and _holds(default, values):
                settings.update(made)
                places.update(dict.fromkeys(made, name))
                yield Account(default.name, default.value, name, Outcome.DEFAULT, ", ".join(made), default.note)


def _holds(default: Default, values: Values) -> bool:
    """Whether a silence speaks here; where the key it hangs on has a wrong value, that key's account says so."""
    try:
        return default.when(values)
    except (Cannot, TypeError, ValueError, AttributeError, KeyError, IndexError):
        return False


def units_of(document: Document, rows: tuple[Row, ...], prefix: str) -> Iterator[Unit]:
    """The keys of a document: its leaves, but a mapping or list where a row takes it whole."""
    by_name = {name: row for row in rows for name in row.names}
    names = tuple(by_name)

    def walk(path: KeyPath, value: Any) -> Iterator[Unit]:
        row = by_name.get(".".join("*" if isinstance(part, int) else str(part) for part in path))
        if row is None or not row.whole:
            if isinstance(value, dict) and value:
                for key, inner in value.items():
                    yield from walk((*path, key), inner)
                return
            if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
                for index, inner in enumerate(value):
                    yield from walk((*path, index), inner)
                return
        yield Unit(path, value, document.place(path), row, prefix, names)

    for key, value in document.value.items():
        yield from walk((key,), value)


def _checked(account: Account, reasons: dict[str, str]) -> Account:
    """An applied key all of whose settings cannot matter in this recipe is inert."""
    if account.outcome is not Outcome.APPLIED or not account.target:
        return account
    whys = [why_inert(reasons, target) for target in account.target.split(", ")]
    note = f"{whys[0]}; {account.note}" if account.note else whys[0]
    return replace(account, outcome=Outcome.INERT, note=note) if all(whys) else account


def _overruled(account: Account, unit: Unit, given: Collection[KeyPath]) -> Account:
    """A key whose settings words of the command line make is replaced by them, and no longer refused."""
    if account.outcome is Outcome.REFUSED and unit.row is not None:
        stars = [str(part) for part in unit.path if isinstance(part, int)]
        made = [target for target in unit.row.targets if _given(_fill(target, stars), given)]
    else:
        made = account.target.split(", ") if account.target else []
        made = made if all(_given(target, given) for target in made) else []
    if not made:
        return account
    note = f"{', '.join(made)}: the command line says otherwise"
    return replace(account, outcome=Outcome.REPLACED, target=", ".join(made), note=note)


def _given(target: str, given: Collection[KeyPath]) -> bool:
    path = tuple(int(part) if part.isdecimal() else part for part in target.split("."))
    return any(path[: len(word)] == word for word in given)


def _fill(pattern: str, stars: list[str]) -> str:
    for star in stars:
        pattern = pattern.replace("*", star, 1)
    return pattern


LISTS = ("train", "evaluate", "test")
"""Settings that are lists of sections; below others a number is a name like any other."""


def _put(tree: Any, parts: list[str], value: Any) -> None:
    for part, following in pairwise(parts):
        empty: Any = [] if following.isdecimal() and part in LISTS else {}
        if isinstance(tree, list):
            while len(tree) <= int(part):
                tree.append({})
            tree = tree[int(part)]
        else:
            tree = tree.setdefault(part, empty)
    tree[parts[-1]] = value
