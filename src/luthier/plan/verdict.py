"""A reading -> the recipe as it can run here: what is done instead, what is refused, each under the file's own key."""

from __future__ import annotations

from dataclasses import dataclass, replace

from luthier.dialects.reading import Outcome, Reading
from luthier.errors import Fault
from luthier.plan.instead import Instead, substituted
from luthier.plan.support import unsupported
from luthier.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Verdict:
    """``recipe`` is what runs; ``instead`` what was exchanged in it; with anything ``refused`` it does not run."""

    recipe: Recipe
    instead: tuple[str, ...]
    refused: tuple[Fault, ...]


def verdict(reading: Reading) -> Verdict:
    """What becomes of a file's recipe on this machine, before anything is loaded."""
    recipe, exchanged = substituted(reading.recipe)
    refused = (_under_its_own_key(fault, reading) for fault in unsupported(recipe))
    return Verdict(recipe, tuple(_told(one, reading) for one in exchanged if one.why), (*reading.refusals(), *refused))


def own_key(reading: Reading, setting: str) -> tuple[str, str]:
    """The file's key that made a setting and its place; two empty strings where none did.

    Of several keys that decide together the first that asks for something.
    """
    makers = [
        account
        for account in reading.accounts
        if account.outcome is not Outcome.INERT
        and any(f"{one}.".startswith(f"{setting}.") for one in account.target.split(", "))
    ]
    chosen = next((one for one in makers if one.value not in (None, False, "")), next(iter(makers), None))
    return (chosen.key, chosen.place) if chosen else ("", "")


def _told(one: Instead, reading: Reading) -> str:
    key, _ = own_key(reading, one.key)
    return str(one) if key in ("", one.key) else f"{key} ({one.key}){str(one).removeprefix(one.key)}"


def _under_its_own_key(fault: Fault, reading: Reading) -> Fault:
    key, place = own_key(reading, fault.place)
    return fault if key in ("", fault.place) else replace(fault, place=f"{place}: {key} ({fault.place})")
