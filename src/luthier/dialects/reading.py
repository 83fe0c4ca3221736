"""What reading a file gives: the recipe, and an account of every key in the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from luthier.errors import Fault
from luthier.recipe import Recipe
from luthier.redaction import redacted


class Outcome(StrEnum):
    """What became of a key."""

    APPLIED = "applied"
    """It changes the run."""
    DEFAULT = "default"
    """The dialect's silence means this."""
    INERT = "inert"
    """It cannot matter here; the note says why."""
    REPLACED = "replaced"
    """Its meaning lives on in another form; the note says which."""
    REFUSED = "refused"
    """The run cannot honour it; the note says why, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Account:
    """One key of the file: where it stood, what became of it, which setting of ours it reached."""

    key: str
    value: Any
    place: str
    outcome: Outcome
    target: str = ""
    note: str = ""
    known: bool = True
    """False for a key that its dialect has no row for."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that has been read."""

    dialect: str
    source: str
    recipe: Recipe
    accounts: tuple[Account, ...]
    faults: tuple[Fault, ...] = ()
    """What the file leaves open or contradicts, so that it cannot run as it is."""

    def refusals(self) -> tuple[Fault, ...]:
        """Why the file cannot run as it is: its refused keys, and its faults."""
        return self.faults + tuple(
            Fault(f"{account.key}: {account.note}", account.place)
            for account in self.accounts
            if account.outcome is Outcome.REFUSED
        )

    def strict(self) -> Reading:
        """The reading with every unknown key refused."""
        accounts = (
            one if one.known else replace(one, outcome=Outcome.REFUSED, note=f"{one.note} (refused by --strict)")
            for one in self.accounts
        )
        return replace(self, accounts=tuple(accounts))

    def tree(self) -> dict[str, Any]:
        """The reading as plain values, for ``--json``."""
        return {
            "dialect": self.dialect,
            "recipe": redacted(self.recipe.tree()),
            "accounts": [
                {
                    "key": account.key,
                    "value": account.value,
                    "place": account.place,
                    "outcome": account.outcome.value,
                    "target": account.target,
                    "note": account.note,
                }
                for account in self.accounts
            ],
        }
