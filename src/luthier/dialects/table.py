"""A dialect as data: what each of its keys means, row by row.

    Key      one key -> one setting of ours
    Spread   one key -> several settings, or one that depends on other keys
    Gather   several keys -> settings that only they together decide
    Inert    a key that cannot matter here, and why
    Refused  a key that cannot be honoured, and what to write instead
    Default  what the dialect's silence means

A row's name is the key's dotted path; ``*`` stands for a position in a list, and the same ``*`` in a target for that
position. Old names of a key are rows of the same kind (``old``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from luthier.dialects.reading import Outcome

VANISHED = "rows whose answer the cut takes away are left out and counted; upstream they taught nothing, or NaN"
"""Said where over-long rows are cut."""

Values = Mapping[str, Any]
"""Every key of the file by its dotted path."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a key does: its outcome, the settings it makes (dotted path -> value), and what is to be said of it."""

    outcome: Outcome
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


class Cannot(Exception):
    """Raised by a converter: the value cannot be honoured; why, and what to write instead."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason}; {remedy}" if remedy else reason)


def applied(settings: Mapping[str, Any], note: str = "") -> Effect:
    """It changes the run."""
    return Effect(Outcome.APPLIED, settings, note)


def replaced(settings: Mapping[str, Any], note: str) -> Effect:
    """Its meaning lives on in another form."""
    return Effect(Outcome.REPLACED, settings, note)


def inert(reason: str) -> Effect:
    """It cannot matter here."""
    return Effect(Outcome.INERT, {}, reason)


def refused(reason: str, remedy: str = "") -> Effect:
    """It cannot be honoured."""
    return Effect(Outcome.REFUSED, {}, f"{reason}; {remedy}" if remedy else reason)


def same(value: Any) -> Any:
    """The value itself."""
    return value


@dataclass(frozen=True, slots=True)
class Row:
    """What every row has: its key, the key's older names, whether it takes a whole mapping or list as its value."""

    name: str
    old: tuple[str, ...] = field(default=(), kw_only=True)
    whole: bool = field(default=False, kw_only=True)
    note: str = field(default="", kw_only=True)
    """Said of the key whenever it is used: what it meant then, and what Luthier does."""

    @property
    def names(self) -> tuple[str, ...]:
        """Today's name and the older ones."""
        return (self.name, *self.old)

    @property
    def targets(self) -> tuple[str, ...]:
        """The settings of ours that the row may make."""
        return ()

    def effect(self, value: Any, values: Values) -> Effect:
        """What the key does with this value in this file.

        Raises:
            Cannot: the value cannot be honoured.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Key(Row):
    """One key, one setting. A null leaves the setting at the dialect's default."""

    target: str
    convert: Callable[[Any], Any] = same

    @property
    def targets(self) -> tuple[str, ...]:
        """The one setting."""
        return (self.target,)

    def effect(self, value: Any, values: Values) -> Effect:
        """The converted value in its place."""
        if value is None:
            return inert("null: left at the default")
        return applied({self.target: self.convert(value)}, self.note)


@dataclass(frozen=True, slots=True)
class Spread(Row):
    """One key whose effect is a function of its value and the file's other keys."""

    makes: tuple[str, ...]
    spread: Callable[[Any, Values], Effect]

    @property
    def targets(self) -> tuple[str, ...]:
        """Every setting it may make."""
        return self.makes

    def effect(self, value: Any, values: Values) -> Effect:
        """What the function says."""
        found = self.spread(value, values)
        return Effect(found.outcome, found.settings, found.note or self.note)


@dataclass(frozen=True, slots=True)
class Gather(Row):
    """One of several keys that only together decide some settings; each of them has such a row."""

    makes: tuple[str, ...]
    gather: Callable[[Values], Effect]

    @property
    def targets(self) -> tuple[str, ...]:
        """Every setting they may make."""
        return self.makes

    def effect(self, value: Any, values: Values) -> Effect:
        """What the keys say together."""
        if value is None:
            return inert("null: left at the default")
        found = self.gather(values)
        return Effect(found.outcome, found.settings, found.note or self.note)


@dataclass(frozen=True, slots=True)
class Inert(Row):
    """A key that cannot matter here; outside ``only`` (None: any value) it would matter and is refused."""

    reason: str
    only: tuple[Any, ...] | None = None
    remedy: str = ""

    def effect(self, value: Any, values: Values) -> Effect:
        """Nothing, said with its reason."""
        if self.only is None or value is None or value in self.only:
            return inert(self.reason)
        return refused(f"{self.reason}, but {value!r} would matter", self.remedy)


@dataclass(frozen=True, slots=True)
class Refused(Row):
    """A key that cannot be honoured, except at values that ask for nothing."""

    reason: str
    remedy: str
    unless: tuple[Any, ...] = (None, False)

    def effect(self, value: Any, values: Values) -> Effect:
        """A refusal, or nothing."""
        if value in self.unless:
            return inert("it asks for nothing")
        return refused(self.reason, self.remedy)


@dataclass(frozen=True, slots=True)
class Default:
    """What it means that a key is not there: ``settings`` that no other key has made."""

    name: str
    value: Any
    settings: Mapping[str, Any]
    note: str = ""
    when: Callable[[Values], bool] = lambda values: True
