"""The order of the data plane: source -> format -> template -> tokens -> fate -> store, through the cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from luthier.data.block import ROWS, Broken
from luthier.data.cache import alone, content_key, entry, keep
from luthier.data.convert import MOST_SHOWN
from luthier.data.double_bos import DoubleBos
from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.fates import Fates
from luthier.data.hub_rows import hub_state
from luthier.data.jinja import day_in
from luthier.data.making import Maker, silent_of
from luthier.data.pack import Ints
from luthier.data.parallel import attempts, made_of, with_format
from luthier.data.preference import fitting, prompt_limit
from luthier.data.quarantine import advice, place_of_quarantine, write_quarantine
from luthier.data.read_file import NO_TEXT
from luthier.data.remarks import DOUBLED, notes_on
from luthier.data.source import files_of
from luthier.data.store import TokenStore, Writer, load
from luthier.data.streaming import enough_for
from luthier.data.template import ChatTemplate, template_source
from luthier.data.text_file import encoding_of, read_errors, suffix_of
from luthier.data.tokens import Fate, Tokens
from luthier.data.turn_jinja import prefix_of
from luthier.errors import DataError, Fault
from luthier.recipe import Recipe
from luthier.recipe.data import Source
from luthier.registry import code_of

CHUNK = ROWS
"""Rows that are tokenised together."""

MADE_BY = ("max_length", "min_length", "overlong", "vanished", "bad_rows", "deduplicate", "near_duplicates")
"""Settings of data that decide which documents come out."""

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


def examples(recipe: Recipe, sources: Sequence[Source], set_aside: list[Fault] | None = None) -> Iterator[Example]:
    """The examples of several sources, one source after the other.

    Rows that are none are collected in ``set_aside``, up to data.bad_rows of them.

    Raises:
        DataError: more bad rows than that; the first ones are all named.
    """
    faults: list[Fault] = [] if set_aside is None else set_aside
    for attempt in chain.from_iterable(map(attempts, sources)):
        if isinstance(attempt, Example):
            yield attempt
            continue
        faults.append(attempt)
        if len(faults) >= recipe.data.bad_rows + MOST_SHOWN:
            break
    if len(faults) > recipe.data.bad_rows:
        raise DataError(*faults[:MOST_SHOWN])


def texts(recipe: Recipe, sources: Sequence[Source]) -> Iterator[str]:
    """All texts of the sources, to train a tokenizer on."""
    return (message.content for example in examples(recipe, sources) for message in example.messages)


def cache_entry(recipe: Recipe, sources: Sequence[Source], tokenizer: Path, encoder: Encoder) -> Path:
    """Where the prepared data of these sources lie: under the hash of all that makes them."""
    data = recipe.data
    files = [files_of(source) for source in sources]
    local = list(chain.from_iterable(files))
    chat = recipe.method.kind != "pretrain"
    codes = [code_of("formats", source.format) for source in sources if source.format != "auto"]
    states = ["" if own else hub_state(source) for source, own in zip(sources, files, strict=True)]
    enough = enough_for(recipe, sources)
    settings = {
        **({"states": states} if any(states) else {}),
        **({"enough": [enough.documents, enough.tokens]} if enough else {}),
        "sources": [
            source.model_dump(mode="json", exclude={"path", "weight"} if own else {"weight"})
            for source, own in zip(sources, files, strict=True)
        ],
        "files": list(map(len, files)),
        "names": [str(path) for path in local],
        **({"code": [version for version, _ in codes]} if any(version for version, _ in codes) else {}),
        "method": recipe.method.kind,
        **prompt_limit(recipe),
        **{name: getattr(data, name) for name in MADE_BY},
        **({name: getattr(data, name) for name in ("system", "train_on", "last_turn_only")} if chat else {}),
    }
    named = sorted(path for path in tokenizer.glob("*token*.json") if path.is_file())
    code = list(chain.from_iterable(files for _, files in codes))
    return entry(data.cache, "tokens", content_key([*local, *named, *code], _template(recipe, encoder), settings))


def _template(recipe: Recipe, encoder: Encoder) -> tuple[str, ...]:
    """What decides the text of conversations: the template, and the day where it may write that."""
    data = recipe.data
    if recipe.method.kind == "pretrain":
        return ()
    texts: tuple[str, ...] = (data.template, encoder.chat_template or "")
    if data.template != "auto" or data.template_arguments:
        texts = (template_source(data.template, encoder, data.template_arguments),)
    day = day_in("".join(texts))
    return (*texts, day) if day else texts


def prepare(
    recipe: Recipe,
    sources: Sequence[Source],
    tokenizer: Path,
    told: Told | None = None,
    wait: Callable[[str], None] | None = None,
) -> tuple[TokenStore, bool]:
    """The sources' documents, and whether they came from the cache.

    Of several processes one does the work; the others wait for it, and ``wait`` is told so.

    Raises:
        DataError: rows that cannot be used, no trained token left in any of them, or files that changed meanwhile.
    """
    encoder = Encoder.open(tokenizer)
    before = _states(sources)
    place = cache_entry(recipe, sources, tokenizer, encoder)
    cached = (place / "summary.json").exists()
    if not cached:
        with alone(place, wait):
            cached = (place / "summary.json").exists()
            if not cached:
                work = Preparation(recipe, encoder)

                def make(aside: Path) -> None:
                    try:
                        _write(work, sources, tokenizer, aside, place_of_quarantine(place), told)
                    finally:
                        _check_unchanged(before, _states(sources))

                keep(place, make)
    return load(place), cached


States = dict[Path, tuple[int, int, int]]


def _states(sources: Sequence[Source]) -> States:
    """What the disk says of the sources' files: which they are, their sizes, and when they were last changed."""
    states: States = {}
    for path in (path for source in sources for path in files_of(source)):
        with read_errors(path):
            found = path.stat()
        states[path] = found.st_ino, found.st_size, found.st_mtime_ns
    return states


def _check_unchanged(before: States, after: States) -> None:
    """What was made of files that changed meanwhile is not theirs, neither before nor after.

    Raises:
        DataError: they did.
    """
    changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    if changed:
        more = f", and so did {len(changed) - 1:,} more" if len(changed) > 1 else ""
        told = f"changed while it was read{more}"
        raise DataError(told, place=str(changed[0]), remedy="start again when the rows are complete")


def _write(
    work: Preparation, sources: Sequence[Source], tokenizer: Path, aside: Path, quarantine: Path, told: Told | None
) -> None:
    with Writer(aside) as writer:
        broken = work.write(sources, tokenizer, writer, told)
        write_quarantine(quarantine, broken)
        if len(broken) > work.recipe.data.bad_rows:
            shown = [one.fault for one in broken[:MOST_SHOWN]]
            raise DataError(*shown, advice(quarantine, len(broken)))
        if not len(writer):
            raise _nothing_left(sources, work)
        prefix = prefix_of(work.encoder)
        notes = [*_notes(sources), *work.notes(sources), *_dated(work)]
        notes += [
            note
            for number, counts in sorted(work.remarks.items())
            for note in notes_on(sources[number].path, counts, prefix)
        ]
        extra = {
            **({"documents_by_source": work.by_source} if len(sources) > 1 else {}),
            **({"notes": notes} if notes else {}),
            **({"quarantine": str(quarantine)} if broken else {}),
        }
        writer.close({**work.summary(), **extra})


def _notes(sources: Sequence[Source]) -> list[str]:
    """What a person should know about how the files were read."""
    files = [path for source in sources for path in files_of(source) if suffix_of(path) not in NO_TEXT]
    odd = [(path, encoding) for path in files if not (encoding := encoding_of(path)).startswith("utf-8")]
    return [f"{path} was read as {encoding.upper()}, not UTF-8" for path, encoding in odd[:MOST_SHOWN]]


def _dated(work: Preparation) -> list[str]:
    """That the template may write the day's date, so that rows are prepared anew every day."""
    day = day_in("".join(_template(work.recipe, work.encoder)))
    told = (
        f"the chat template may write the date, which is {day} here: tomorrow the rows are prepared anew, with other "
        "ids; to keep one date, set what the template reads for it in data.template_arguments (Llama's: date_string), "
        "or write it into a .jinja file"
    )
    return [told] if day else []


def _nothing_left(sources: Sequence[Source], work: Preparation) -> DataError:
    fated = work.fates.counts
    counts = {fate.value: count for fate, count in fated.items()}
    if work.set_aside:
        counts["set aside"] = len(work.set_aside)
    told = ", ".join(f"{count} {fate}" for fate, count in counts.items()) or "no rows"
    if Fate.SHORT in fated:
        remedy = "lower data.min_length"
    elif Fate.DROPPED in fated:
        remedy = "raise data.max_length"
    elif fated:
        remedy = "name the roles to learn in data.train_on, or raise data.max_length if answers are cut off"
    else:
        remedy = f"the first one: {work.set_aside[0]}" if work.set_aside else "the files are empty"
    return DataError(
        f"no trained token is left ({told}; data.max_length {work.recipe.data.max_length})",
        place=", ".join(source.path for source in sources),
        remedy=remedy,
    )


def split_holdout(rows: Ints, holdout: int | float, seed: int) -> tuple[Ints, Ints]:
    """Indices of the training and of the evaluation documents; the rows of the latter are drawn by seed.

    ``rows`` [n] are the documents' rows, numbered from 0: all that came of a row stays on one side.

    Raises:
        DataError: nothing would be left to train on.
    """
    count = int(rows.max()) + 1 if len(rows) else 0
    size = round(count * holdout) if holdout < 1 else int(holdout)
    if holdout and size < 1:
        size = 1
    if size >= count:
        raise DataError(f"{size} of {count} rows would be held out", place="data.holdout", remedy="hold out fewer")
    held = np.zeros(count, np.bool_)
    held[np.random.default_rng((seed, 0x5EED)).permutation(count)[:size]] = True
    return np.flatnonzero(~held[rows]), np.flatnonzero(held[rows])
