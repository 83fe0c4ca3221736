"""The order of the data plane: source -> format -> template -> tokens -> fit -> store, through the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from luthier.data.cache import content_key, entry, keep
from luthier.data.convert import MOST_SHOWN, examples_of
from luthier.data.encoder import Encoder
from luthier.data.example import TEXT, Example
from luthier.data.source import files_of
from luthier.data.store import TokenStore, collect, load, save
from luthier.data.template import ChatTemplate, template_source, text_spans
from luthier.data.tokens import Fate, Tokens, as_document, fit, tokenise
from luthier.errors import DataError, Fault
from luthier.recipe import Recipe
from luthier.recipe.data import Source

CHUNK = 512
"""Rows that are tokenised together."""

Told = Callable[[int], None]
"""Told how many rows are done."""


@dataclass(slots=True)
class Preparation:
    """Turns examples into tokens for one recipe and tokenizer; counts what becomes of the rows."""

    recipe: Recipe
    encoder: Encoder
    counts: dict[Fate, int] = field(default_factory=dict)
    lost_answer_tokens: int = 0
    set_aside: list[Fault] = field(default_factory=list)
    _template: ChatTemplate | None = None

    def template(self) -> ChatTemplate:
        """The chat template, compiled when a conversation first needs it."""
        if self._template is None:
            data = self.recipe.data
            self._template = ChatTemplate(
                template_source(data.template, self.encoder),
                self.encoder,
                train_on=data.train_on,
                system=data.system,
                last_turn_only=data.last_turn_only,
            )
        return self._template

    def documents(self, examples: Iterable[Example], told: Told | None = None) -> Iterator[Tokens]:
        """The documents that remain of the examples, in their order.

        Raises:
            DataError: rows longer than data.max_length under data.overlong: refuse.
        """
        seen: set[bytes] = set()
        refused: list[Fault] = []
        done = 0
        rows = iter(examples)
        while chunk := tuple(islice(rows, CHUNK)):
            for tokens in self._tokens(chunk):
                fate, kept = self._fate(tokens, seen)
                self.counts[fate] = self.counts.get(fate, 0) + 1
                self.lost_answer_tokens += (
                    tokens.targets - sum(piece.targets for piece in kept) if fate is not Fate.DUPLICATE else 0
                )
                if fate is Fate.REFUSED:
                    refused.append(
                        Fault(
                            f"is {len(tokens)} tokens long",
                            tokens.origin,
                            "raise data.max_length, or change data.overlong",
                        )
                    )
                yield from kept
            done += len(chunk)
            if told:
                told(done)
        if refused:
            raise DataError(*refused[:MOST_SHOWN])

    def _tokens(self, chunk: Sequence[Example]) -> Iterator[Tokens]:
        plain = [example.messages[0].role == TEXT for example in chunk]
        if self.recipe.method.kind == "pretrain" and not all(plain):
            raise DataError(
                "pretraining reads plain documents, and this row is a conversation",
                place=chunk[plain.index(False)].origin,
                remedy="set method.kind: sft, or name the column of the text in the source's columns",
            )
        spans = [self.template().spans(e) if not p else text_spans(e) for e, p in zip(chunk, plain, strict=True)]
        for tokens, is_plain in zip(
            tokenise(spans, [example.origin for example in chunk], self.encoder), plain, strict=True
        ):
            yield as_document(tokens, self.encoder) if is_plain else tokens

    def _fate(self, tokens: Tokens, seen: set[bytes]) -> tuple[Fate, list[Tokens]]:
        if self.recipe.data.deduplicate:
            key = tokens.ids.tobytes()
            if key in seen:
                return Fate.DUPLICATE, []
            seen.add(key)
        return fit(tokens, self.recipe.data.max_length, self.recipe.data.overlong)

    def summary(self) -> dict[str, Any]:
        """What preparation counted, as plain values."""
        return {
            "rows": sum(self.counts.values()) + len(self.set_aside),
            "fates": {fate.value: count for fate, count in sorted(self.counts.items())},
            "bad_rows": [str(fault) for fault in self.set_aside[:MOST_SHOWN]],
            "lost_answer_tokens": self.lost_answer_tokens,
        }


def examples(recipe: Recipe, sources: Sequence[Source], set_aside: list[Fault] | None = None) -> Iterator[Example]:
    """The examples of several sources, one source after the other."""
    bad = recipe.data.bad_rows
    return chain.from_iterable(examples_of(source, bad_rows=bad, set_aside=set_aside) for source in sources)


def texts(recipe: Recipe, sources: Sequence[Source]) -> Iterator[str]:
    """All texts of the sources, to train a tokenizer on."""
    return (message.content for example in examples(recipe, sources) for message in example.messages)


def cache_entry(recipe: Recipe, sources: Sequence[Source], tokenizer: Path, encoder: Encoder) -> Path:
    """Where the prepared data of these sources lie: under the hash of all that makes them."""
    data = recipe.data
    local = [path for source in sources for path in files_of(source)]
    chat = recipe.method.kind != "pretrain"
    settings = {
        "sources": [
            source.model_dump(mode="json", exclude={"path", "weight"} if files_of(source) else {"weight"})
            for source in sources
        ],
        "files": [len(files_of(source)) for source in sources],
        "names": [str(path) for path in local],
        "method": recipe.method.kind,
        **{name: getattr(data, name) for name in ("max_length", "overlong", "bad_rows", "deduplicate")},
        **({name: getattr(data, name) for name in ("system", "train_on", "last_turn_only")} if chat else {}),
    }
    named = sorted(path for path in tokenizer.glob("*token*.json") if path.is_file())
    template: tuple[str, ...] = (data.template, encoder.chat_template or "") if chat else ()
    if chat and data.template != "auto":
        template = (template_source(data.template, encoder),)
    return entry(data.cache, "tokens", content_key([*local, *named], template, settings))


def prepare(
    recipe: Recipe, sources: Sequence[Source], tokenizer: Path, told: Told | None = None
) -> tuple[TokenStore, bool]:
    """The sources' documents, and whether they came from the cache.

    Raises:
        DataError: rows that cannot be used, or no trained token left in any of them.
    """
    encoder = Encoder.open(tokenizer)
    place = cache_entry(recipe, sources, tokenizer, encoder)
    cached = (place / "summary.json").exists()
    if not cached:
        work = Preparation(recipe, encoder)
        documents = list(work.documents(examples(recipe, sources, work.set_aside), told))
        if not documents:
            raise _nothing_left(sources, work, recipe)
        store = collect(documents, work.summary())
        keep(place, lambda aside: save(store, aside))
    return load(place), cached


def _nothing_left(sources: Sequence[Source], work: Preparation, recipe: Recipe) -> DataError:
    counts = {fate.value: count for fate, count in work.counts.items()}
    if work.set_aside:
        counts["set aside"] = len(work.set_aside)
    fates = ", ".join(f"{count} {fate}" for fate, count in counts.items()) or "no rows"
    if Fate.DROPPED in work.counts:
        remedy = "raise data.max_length"
    elif work.counts:
        remedy = "name the roles to learn in data.train_on, or raise data.max_length if answers are cut off"
    else:
        remedy = f"the first one: {work.set_aside[0]}" if work.set_aside else "the files are empty"
    return DataError(
        f"no trained token is left ({fates}; data.max_length {recipe.data.max_length})",
        place=", ".join(source.path for source in sources),
        remedy=remedy,
    )


def split_holdout(count: int, holdout: int | float, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Indices of the training and the evaluation documents; the latter are drawn by seed.

    Raises:
        DataError: nothing would be left to train on.
    """
    size = round(count * holdout) if holdout < 1 else int(holdout)
    if holdout and size < 1:
        size = 1
    if size >= count:
        raise DataError(f"{size} of {count} documents would be held out", place="data.holdout", remedy="hold out fewer")
    drawn = np.random.default_rng((seed, 0x5EED)).permutation(count)
    return np.sort(drawn[size:]), np.sort(drawn[:size])
