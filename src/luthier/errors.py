"""Errors that a user can act on; anything else that is raised is a bug of ours and keeps its traceback.

LuthierError            one or more faults: place, reason, remedy
├── RecipeError         a recipe file, another system's file, a word on the command line
├── DataError           a file of rows, a row, the cache of prepared data
│   └── TemplateError   a chat template that cannot be used
├── ModelError          a model directory, a tokenizer, an adapter
├── CheckpointError     a checkpoint that is not whole, or not of this run
├── RunError            the run itself: its folder, its loss, its devices
└── MissingPackage      an optional package that has to be installed first
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: what, where (``file:line key``, ``file:row``), and what to write instead."""

    reason: str
    place: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.reason}" if self.place else self.reason]
        if self.remedy:
            lines.append(f"  -> {self.remedy}")
        return "\n".join(lines)


class LuthierError(Exception):
    """A user-facing error that carries every fault found, so that one run shows them all."""

    def __init__(self, *faults: Fault | str, place: str = "", remedy: str = "") -> None:
        self.faults: tuple[Fault, ...] = tuple(
            fault if isinstance(fault, Fault) else Fault(fault, place, remedy) for fault in faults
        )
        super().__init__("\n".join(str(fault) for fault in self.faults))


class RecipeError(LuthierError):
    """A recipe, or a word on the command line, does not say what a run could be."""


class DataError(LuthierError):
    """A file of rows, a row or the cache of prepared data cannot be used."""


class TemplateError(DataError):
    """A chat template fails, or renders so that no mask could be right."""


class ModelError(LuthierError):
    """A model directory, a tokenizer or an adapter cannot be used."""


class CheckpointError(LuthierError):
    """A checkpoint is not whole, or belongs to another run."""


class RunError(LuthierError):
    """The run cannot start or go on: its folder, its loss or its devices."""


class MissingPackage(LuthierError):
    """An optional package that the recipe needs is not installed."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, or one that is a word of it (``lr_rate``: ``lr``); None when none is close.

    >>> nearest("learning_rat", ["learning_rate", "lr"]), nearest("lr_rate", ["kind", "lr"]), nearest("x", ["lr"])
    ('learning_rate', 'lr', None)
    """
    names = list(known)
    matches: Sequence[str] = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    words = set(re.split(r"[_.\-]", name))
    return next(iter([*matches, *(one for one in names if one in words)]), None)
