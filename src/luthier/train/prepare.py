"""Everything a run needs before the model is built: its directories, its tokens, its exact plan."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from luthier.data.corpus import examples
from luthier.data.duplicates import copies
from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.fill import told_of
from luthier.data.holdout import split_holdout
from luthier.data.jsonl_copy import with_copies
from luthier.data.laid_out import learned_in
from luthier.data.order import Feed, feed_of
from luthier.data.pipeline import prepare
from luthier.data.preparation import Preparation
from luthier.data.store import TokenStore
from luthier.data.template import ChatTemplate
from luthier.errors import DataError
from luthier.evaluate.questions import asked
from luthier.plan.inputs import adapter_base, ids_added, model_directory, tokenizer_directory
from luthier.plan.instead import lacking_tokens, with_template
from luthier.plan.plan import Plan, make_plan, shape_of
from luthier.plan.volume import volume_of_store
from luthier.recipe import Recipe
from luthier.recipe.source import Source
from luthier.record.events import Prepared
from luthier.train.display import Display


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run works on."""

    model: Path | None
    tokenizer: Path
    new_tokens: tuple[int, ...]
    """Ids of tokens that the recipe adds to its tokenizer."""
    encoder: Encoder
    template: ChatTemplate | None
    store: TokenStore
    documents: list[int]
    feed: Feed
    evaluation: TokenStore | None
    evaluation_documents: list[int]
    test: list[Example]
    asked: list[Example]
    """Questions of the evaluation rows, for ``evaluate.generate_during``."""
    plan: Plan
    events: tuple[Prepared, ...]


def prepare_inputs(recipe: Recipe, display: Display, warnings: tuple[str, ...] = ()) -> Inputs:
    """Find or make everything; ``warnings`` are what the plan has to say beside its own.

    Raises:
        LuthierError: what is missing or wrong, with its place.
    """
    directory = model_directory(recipe)
    recipe = with_copies(recipe)
    tokenizer = tokenizer_directory(recipe, display.stage)
    if recipe.adapter.kind != "none":
        adapter_base(recipe, display.stage)
    encoder = Encoder.open(tokenizer)
    recipe, told = with_template(recipe, encoder)
    store, event = _prepared(recipe, "train", recipe.data.train, tokenizer, display)
    train, held = split_holdout(store.origins.rows, recipe.data.holdout, recipe.seed)
    evaluation, events = (store if len(held) else None), [event]
    if recipe.data.evaluate:
        evaluation, event = _prepared(recipe, "evaluation", recipe.data.evaluate, tokenizer, display)
        held = np.arange(len(evaluation))
        events.append(event)
    held_documents: Sequence[int] = []
    if evaluation is not None:
        seen = copies(evaluation, held, store, train)
        held_documents = [int(one) for one in held[~seen]]
        warnings = (*warnings, *_told_of_copies(int(seen.sum()), len(held)))
        evaluation = evaluation if held_documents else None
    if recipe.evaluate.rows is not None:
        held_documents = held_documents[: recipe.evaluate.rows]
    template = None
    if recipe.method.kind != "pretrain" and _has_conversations(recipe):
        template = Preparation(recipe, encoder).template()
    test = _test(recipe, template, encoder) if recipe.evaluate.generate else []
    during = template is not None and evaluation is not None and recipe.evaluate.generate_during
    rows = _evaluation_rows(recipe, evaluation, held_documents) if evaluation and during else ()
    ask = asked(rows, recipe, template, encoder, recipe.evaluate.rows) if template else []
    volume = volume_of_store(recipe, store, len(held_documents))
    new = ids_added(recipe, tokenizer)
    plan = make_plan(recipe, shape_of(recipe, directory, encoder.vocabulary, len(new)), volume)
    return Inputs(
        model=directory,
        tokenizer=tokenizer,
        new_tokens=new,
        encoder=encoder,
        template=template,
        store=store,
        documents=[int(one) for one in train],
        feed=feed_of(recipe, store.lengths[train], store.sources[train]),
        evaluation=evaluation,
        evaluation_documents=list(held_documents),
        test=test,
        asked=ask,
        plan=replace(plan, warnings=(*warnings, *map(str, told), *lacking_tokens(recipe, encoder), *plan.warnings)),
        events=tuple(events),
    )


def _told_of_copies(count: int, held: int) -> tuple[str, ...]:
    """What to say of evaluation documents that are training documents too: they measure memory, and are left out."""
    if not count:
        return ()
    be, verb = ("is", "is a copy of a training document") if count == 1 else ("are", "are copies of training documents")
    left = "so nothing is left to evaluate on" if count == held else f"and {be} left out of the evaluation"
    return (f"{count:,} of {held:,} evaluation documents {verb}, {left}",)


def _test(recipe: Recipe, template: ChatTemplate | None, encoder: Encoder) -> list[Example]:
    """The questions of the test rows.

    Raises:
        DataError: rows that are no conversations.
    """
    rows = list(examples(recipe, recipe.data.test))
    if template is None or any(row.plain for row in rows):
        raise DataError(
            "rows to answer have to be conversations", place=recipe.data.test[0].path, remedy="set method.kind: sft"
        )
    return asked(rows, recipe, template, encoder)


def _evaluation_rows(recipe: Recipe, evaluation: TokenStore, held: Sequence[int]) -> Iterator[Example]:
    """The evaluation rows, named or held out, as conversations."""
    if recipe.data.evaluate:
        yield from examples(recipe, recipe.data.evaluate)
        return
    origins = {evaluation.origins[document] for document in held}
    yield from (row for row in examples(recipe, recipe.data.train) if row.origin in origins)


def _has_conversations(recipe: Recipe) -> bool:
    """Whether a chat template touches the first row to train on, or one to answer."""
    sources = (*recipe.data.train[:1], *(recipe.data.test if recipe.evaluate.generate else ()))
    firsts = (next(iter(examples(recipe, [one])), None) for one in sources)
    return any(first is not None and not first.plain for first in firsts)


def _prepared(
    recipe: Recipe, name: str, sources: Sequence[Source], tokenizer: Path, display: Display
) -> tuple[TokenStore, Prepared]:
    begun = time.perf_counter()
    with display.counting(f"preparing the {name} rows") as told:
        store, cached = prepare(recipe, sources, tokenizer, told, display.stage)
    if name == "train":
        own, _ = split_holdout(store.origins.rows, recipe.data.holdout, recipe.seed)
        feed = feed_of(recipe, store.lengths[own], store.sources[own])
    else:
        feed = feed_of(recipe, store.lengths)
    packs = feed.packs(0)
    event = Prepared(
        step=0,
        name=name,
        documents=len(store),
        tokens=int(store.lengths.sum()),
        targets=int(learned_in(recipe, store).sum()),
        packs=len(packs),
        cached=cached,
        seconds=time.perf_counter() - begun,
        summary={**store.summary, **told_of(feed, packs)},
        key=store.key,
    )
    display.prepared(event)
    return store, event
