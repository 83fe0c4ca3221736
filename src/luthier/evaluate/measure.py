"""Measuring a model as a recipe says: in the course of its run, or afterwards by itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from luthier.data.encoder import Encoder
from luthier.data.example import Example
from luthier.data.preference import is_judging
from luthier.data.store import TokenStore
from luthier.data.template import ChatTemplate
from luthier.evaluate.generate import ROWS, answer
from luthier.evaluate.loss import Among, Through, mean_loss
from luthier.evaluate.room import answered_at_once, tokens_at_once
from luthier.evaluate.scores import Failure, Scorer
from luthier.methods.method import Method
from luthier.recipe import Recipe
from luthier.record.folder import write_whole

Autocast = Callable[[], AbstractContextManager[object]]

LIKELIHOODS = ("pretrain", "sft")
"""Objectives whose evaluation loss is the mean negative log-likelihood of a token."""

LARGEST_LOSS = 700.0
"""Of what can still be raised to a power of e."""


def counted_in(recipe: Recipe) -> str:
    """What a recipe's loss is the mean over: trained tokens, or rows whose answers are judged."""
    return "rows" if is_judging(recipe) else "tokens"


@dataclass(frozen=True, slots=True)
class Losses:
    """The mean loss over ``count`` trained tokens or pairs, and the means of what else the objective tells."""

    loss: float
    count: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Answers:
    """Every answer as plain values, each metric's mean, and the metrics that failed."""

    rows: list[dict[str, Any]]
    metrics: dict[str, float]
    failures: tuple[Failure, ...] = field(default=())

    def write(self, file: Path) -> None:
        """Keep them as JSON lines."""
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows))


def measured(
    model: torch.nn.Module,
    method: Method,
    store: TokenStore,
    documents: Sequence[int],
    recipe: Recipe,
    *,
    device: torch.device,
    autocast: Autocast,
    largest: int | None = None,
    among: Among | None = None,
    through: Through | None = None,
) -> Losses:
    """The loss on some documents, batch by batch; where tokens are predicted, their perplexity beside it.

    Args:
        largest: tokens of the largest batch that was trained on.
    """
    loss, count, metrics = mean_loss(
        model,
        method,
        store,
        documents,
        capacity=tokens_at_once(recipe, largest),
        device=device,
        autocast=autocast,
        among=among,
        through=through,
    )
    if recipe.method.kind in LIKELIHOODS:
        metrics = {"perplexity": perplexity(loss), **metrics}
    return Losses(loss, count, metrics)


def perplexity(loss: float) -> float:
    """How many tokens a model is undecided between, by its mean cross-entropy in nats.

    >>> round(perplexity(math.log(50)), 6), perplexity(math.inf)
    (50.0, inf)
    """
    return math.exp(loss) if not loss > LARGEST_LOSS else math.inf


def answered(
    model: Any,
    examples: Sequence[Example],
    template: ChatTemplate,
    encoder: Encoder,
    recipe: Recipe,
    *,
    step: int,
    autocast: Autocast,
    largest: int | None = None,
    told: Callable[[int], None] | None = None,
    among: Among | None = None,
    exchanges: bool = False,
) -> Answers:
    """The answers to some questions with their scores; what is sampled follows from the recipe's seed and the step."""
    settings = recipe.evaluate
    scorer = Scorer(settings.metrics)
    answers = answer(
        model,
        examples,
        template,
        encoder,
        settings.generation,
        seed=int(np.random.SeedSequence((recipe.seed, step)).generate_state(1)[0]),
        rows=recipe.batch.evaluate or ROWS,
        tokens=answered_at_once(recipe, largest),
        autocast=autocast,
        told=told,
        among=among,
        exchanges=exchanges,
    )
    rows = [
        {
            "origin": one.origin,
            **one.extra,
            "question": one.question,
            "reference": one.reference,
            "answer": one.answer,
            "scores": scorer.scores(one.answer, one.reference, one.origin),
        }
        for one in answers
    ]
    return Answers(rows, scorer.means([row["scores"] for row in rows]), tuple(scorer.failures.values()))


@contextmanager
def cast_weights(model: torch.nn.Module, kind: torch.dtype) -> Iterator[None]:
    """Hold a model's fp32 weights in another type while the context lasts; they come back bit for bit."""
    kept = {one: one.data for one in model.parameters() if one.dtype is torch.float32 and kind is not torch.float32}
    try:
        for parameter, data in kept.items():
            parameter.data = data.to(kind)
        yield
    finally:
        for parameter, data in kept.items():
            parameter.data = data
