"""Everything a run needs before the model is built: its directories, its tokens, its exact plan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from luthier.data.encoder import Encoder
from luthier.data.example import TEXT, Example
from luthier.data.order import Feed, feed_of
from luthier.data.pipeline import Preparation, examples, prepare, split_holdout
from luthier.data.store import TokenStore
from luthier.data.template import ChatTemplate
from luthier.errors import DataError
from luthier.plan.inputs import model_directory, tokenizer_directory
from luthier.plan.plan import Plan, make_plan, shape_of
from luthier.plan.volume import volume_of_store
from luthier.recipe import Recipe
from luthier.recipe.data import Source
from luthier.record.events import Prepared
from luthier.train.display import Display


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run works on."""

    model: Path | None
    tokenizer: Path
    encoder: Encoder
    template: ChatTemplate | None
    store: TokenStore
    documents: list[int]
    feed: Feed
    evaluation: TokenStore | None
    evaluation_documents: list[int]
    test: list[Example]
    plan: Plan
    events: tuple[Prepared, ...]


def prepare_inputs(recipe: Recipe, display: Display) -> Inputs:
    """Find or make everything.

    Raises:
        LuthierError: what is missing or wrong, with its place.
    """
    directory = model_directory(recipe)
    tokenizer = tokenizer_directory(recipe, display.stage)
    encoder = Encoder.open(tokenizer)
    store, event = _prepared(recipe, "train", recipe.data.train, tokenizer, display)
    train, held = split_holdout(len(store), recipe.data.holdout, recipe.seed)
    evaluation, events = (store if len(held) else None), [event]
    held_documents: Sequence[int] = [int(one) for one in held]
    if recipe.data.evaluate:
        evaluation, event = _prepared(recipe, "evaluation", recipe.data.evaluate, tokenizer, display)
        held_documents = range(len(evaluation))
        events.append(event)
    if recipe.evaluate.rows is not None:
        held_documents = held_documents[: recipe.evaluate.rows]
    test = list(examples(recipe, recipe.data.test))
    template = None
    if recipe.method.kind != "pretrain" and (test or _has_conversations(recipe)):
        template = Preparation(recipe, encoder).template()
    if test and (template is None or any(example.messages[0].role == TEXT for example in test)):
        raise DataError(
            "rows to answer have to be conversations", place=recipe.data.test[0].path, remedy="set method.kind: sft"
        )
    volume = volume_of_store(recipe, store, len(held_documents))
    return Inputs(
        model=directory,
        tokenizer=tokenizer,
        encoder=encoder,
        template=template,
        store=store,
        documents=[int(one) for one in train],
        feed=feed_of(recipe, store.lengths[np.asarray(train)]),
        evaluation=evaluation,
        evaluation_documents=list(held_documents),
        test=test,
        plan=make_plan(recipe, shape_of(recipe, directory, encoder.vocabulary), volume),
        events=tuple(events),
    )


def _has_conversations(recipe: Recipe) -> bool:
    first = next(iter(examples(recipe, recipe.data.train[:1])), None)
    return first is not None and first.messages[0].role != TEXT


def _prepared(
    recipe: Recipe, name: str, sources: Sequence[Source], tokenizer: Path, display: Display
) -> tuple[TokenStore, Prepared]:
    begun = time.perf_counter()
    with display.counting(f"preparing the {name} rows") as told:
        store, cached = prepare(recipe, sources, tokenizer, told)
    packs = feed_of(recipe, store.lengths).packs(0)
    event = Prepared(
        step=0,
        name=name,
        documents=len(store),
        tokens=int(store.lengths.sum()),
        targets=int(store.targets.sum()),
        packs=len(packs),
        cached=cached,
        seconds=time.perf_counter() - begun,
        summary=store.summary,
    )
    display.prepared(event)
    return store, event
