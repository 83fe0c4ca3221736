"""From examples to the documents that remain of them, and what became of the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from luthier.data.block import ROWS, Broken
from luthier.data.convert import MOST_SHOWN
from luthier.data.double_bos import DoubleBos
from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.fates import Fates
from luthier.data.making import Maker, silent_of
from luthier.data.parallel import made_of, with_format
from luthier.data.preference import fitting
from luthier.data.remarks import DOUBLED
from luthier.data.store import Writer
from luthier.data.streaming import enough_for
from luthier.data.template import ChatTemplate
from luthier.data.tokens import Tokens
from luthier.errors import DataError, Fault
from luthier.recipe import Recipe
from luthier.recipe.source import Source

CHUNK = ROWS
"""Rows that are tokenised together."""

Told = Callable[[int], None]
"""Told how many rows are done."""


@dataclass(slots=True)
class Preparation:
    """Turns examples into tokens for one recipe and tokenizer; counts what becomes of the rows."""

    recipe: Recipe
    encoder: Encoder
    set_aside: list[Fault] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    """Rows of which an answer is empty."""
    by_source: list[int] = field(default_factory=list)
    """Documents written of each source."""
    stopped: list[str] = field(default_factory=list)
    """Streamed sources of which no more rows were read than the steps need."""
    remarks: dict[int, Counter[str]] = field(default_factory=dict)
    """By source, how many rows there is something to say of."""
    _maker: Maker | None = None
    _fates: Fates | None = None
    _double: DoubleBos | None = None

    @property
    def double(self) -> DoubleBos:
        """The documents that begin with the begin token twice."""
        if self._double is None:
            self._double = DoubleBos.of(self.encoder)
        return self._double

    @property
    def maker(self) -> Maker:
        """What makes tokens of examples."""
        if self._maker is None:
            self._maker = Maker(self.recipe, self.encoder)
        return self._maker

    @property
    def fates(self) -> Fates:
        """What has become of the rows so far."""
        if self._fates is None:
            self._fates = Fates(self.recipe.data, fitting(self.recipe))
        return self._fates

    def template(self) -> ChatTemplate:
        """The chat template."""
        return self.maker.template()

    def documents(self, examples: Iterable[Example], told: Told | None = None) -> Iterator[Tokens]:
        """The documents that remain of the examples, in their order; rows that give none go to ``set_aside``.

        Raises:
            DataError: more bad rows than the recipe allows, or rows that the policies for overlong ones refuse.
        """
        done = 0
        rows = iter(examples)
        while chunk := tuple(islice(rows, CHUNK)):
            made, signatures, faults = self.maker.attempts(chunk)
            self.set_aside += faults
            self.silent += silent_of(chunk)
            batch, _ = self.fates.settle(made, signatures)
            self.double.add(batch)
            yield from batch.documents()
            done += len(chunk)
            if told:
                told(done)
        if len(self.set_aside) > self.recipe.data.bad_rows:
            raise DataError(*self.set_aside[:MOST_SHOWN])
        self.fates.check()

    def write(self, sources: Sequence[Source], tokenizer: Path, writer: Writer, told: Told | None) -> list[Broken]:
        """Prepare whole sources into a store that is being written; what could not be used is returned.

        Raises:
            DataError: more bad rows than the recipe allows, or rows that the policies for overlong ones refuse.
        """
        budget = self.recipe.data.bad_rows
        enough = enough_for(self.recipe, sources)
        broken: list[Broken] = []
        done = 0
        self.by_source = [0] * len(sources)
        for number, source in enumerate(sources):
            tokens = 0
            for made in made_of(self.maker, [source], tokenizer):
                before = len(writer)
                batch, digests = self.fates.settle(made.batch, made.signatures)
                self.double.add(batch)
                writer.add(batch, digests)
                self.by_source[number] += len(writer) - before
                tokens += len(batch.ids)
                done += len(made.batch)
                broken += made.broken
                self.remarks.setdefault(number, Counter()).update(made.remarks)
                self.silent += made.silent
                self.set_aside += [one.fault for one in made.broken]
                if len(broken) >= budget + MOST_SHOWN:
                    return broken
                if told and len(made.batch):
                    told(done)
                if source.streaming and enough and enough.reached(self.by_source[number], tokens):
                    self.stopped.append(source.path)
                    break
        if len(broken) <= budget:
            self.fates.check()
        return broken

    def notes(self, sources: Sequence[Source]) -> list[str]:
        """What a person should know about the documents."""
        steps = self.recipe.batch.steps
        notes = [f"{path} was read only as far as the {steps:,} steps need it" for path in self.stopped]
        if self.silent:
            count = f"{len(self.silent):,} rows have" if len(self.silent) > 1 else "1 row has"
            words = "an empty answer, of which nothing but the end is learned"
            notes.append(f"{count} {words} (the first is {self.silent[0]})")
        told = sum(counts[DOUBLED] for counts in self.remarks.values())
        if self.double.count <= told:
            return notes
        return notes + self.double.notes(self.recipe, [with_format(source) for source in sources], self.encoder)

    def summary(self) -> dict[str, Any]:
        """What preparation counted, as plain values."""
        return {
            "rows": sum(self.fates.counts.values()) + len(self.set_aside),
            "bad_rows": [str(fault) for fault in self.set_aside[:MOST_SHOWN]],
            **self.fates.summary(),
        }
