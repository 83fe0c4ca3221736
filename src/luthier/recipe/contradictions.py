"""What no single setting can say: settings that cannot be true together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from luthier.recipe.inert import PREFERENCES
from luthier.recipe.recipe import Recipe

Contradiction = tuple[str, str, str]
"""(dotted key, reason, remedy)"""

GROWING = ("exact_match", "rouge-", "bleu-", "chrf", "accuracy", "rewards/margins", "rewards/accuracies")
"""Beginnings of the names of metrics that are better when they are higher."""

FALLING = ("loss", "perplexity", "nll")
"""Metrics that are better when they are lower."""


def contradictions(recipe: Recipe) -> list[Contradiction]:
    """Everything in the recipe that cannot be true together."""
    rules = (_model, _patterns, _scratch, _tokenizer, _data, _evaluation)
    return [contradiction for rule in rules for contradiction in rule(recipe)]


def _model(recipe: Recipe) -> Iterator[Contradiction]:
    model = recipe.model
    if model.path is None and model.scratch is None:
        yield "model", "no model is named", "set model.path to a directory or hub name, or model.scratch to a shape"
    if model.path is not None and model.scratch is not None:
        yield "model.scratch", "the model comes either from model.path or from scratch", "remove one of them"
    if model.scratch is not None and recipe.adapter.kind != "none":
        yield "adapter.kind", "an adapter needs trained weights below it", "set adapter.kind: none, or model.path"
    if recipe.quantise.bits < 16 and recipe.adapter.kind == "none":
        yield "quantise.bits", "quantised weights cannot train by themselves", "set adapter.kind: lora"


def _patterns(recipe: Recipe) -> Iterator[Contradiction]:
    adapter, trainable = recipe.adapter, recipe.model.trainable
    asked = [("model.trainable", pattern) for pattern in trainable]
    if isinstance(adapter.targets, str):
        asked.append(("adapter.targets", adapter.targets))
    asked += [("adapter.rank_pattern", pattern) for pattern in adapter.rank_pattern]
    asked += [("adapter.alpha_pattern", pattern) for pattern in adapter.alpha_pattern]
    for key, pattern in asked:
        try:
            re.compile(pattern)
        except re.error as error:
            yield key, f"{pattern!r} is not a regular expression: {error}", "put a \\ before a literal ( [ * + ?"


def _scratch(recipe: Recipe) -> Iterator[Contradiction]:
    scratch = recipe.model.scratch
    if scratch is None:
        return
    hidden, heads, groups = scratch.hidden, scratch.heads, scratch.kv_heads
    if hidden % heads:
        yield "model.scratch.heads", f"{hidden} features do not divide into {heads} heads", "change one of them"
    elif hidden // heads % 2:
        yield "model.scratch.heads", f"heads of {hidden // heads} features cannot be rotated in pairs", "make them even"
    if groups is not None and heads % groups:
        yield "model.scratch.kv_heads", f"{heads} heads do not divide into {groups} groups", "use a divisor of heads"
    if recipe.data.max_length > scratch.max_positions:
        reason = f"is longer than model.scratch.max_positions ({scratch.max_positions})"
        yield "data.max_length", reason, "raise max_positions"
    if recipe.tokenizer.train is None and recipe.tokenizer.path is None:
        yield "tokenizer", "a model from scratch has none of its own", "set tokenizer.train or tokenizer.path"


def _tokenizer(recipe: Recipe) -> Iterator[Contradiction]:
    training = recipe.tokenizer.train
    if training is None:
        return
    if recipe.tokenizer.path is not None:
        yield "tokenizer.train", "it is either trained or read from tokenizer.path", "remove one of them"
    if recipe.model.path is not None:
        yield "tokenizer.train", "new ids would change the meaning of trained embeddings", "remove tokenizer.train"
    if training.eos not in training.special:
        yield "tokenizer.train.eos", "is not among tokenizer.train.special", "add it there"


def _data(recipe: Recipe) -> Iterator[Contradiction]:
    data, pack = recipe.data, recipe.pack
    if not data.train:
        yield "data.train", "no rows to train on", "list at least one file, directory or hub dataset"
    if pack.length is not None and pack.kind != "none" and pack.length < data.max_length:
        yield (
            "pack.length",
            f"is shorter than the longest document ({data.max_length})",
            "raise it, or lower data.max_length",
        )
    if data.evaluate and data.holdout:
        yield "data.holdout", "evaluation rows are named and held out as well", "keep data.evaluate or data.holdout"
    if not data.train_on:
        yield "data.train_on", "no role is learned", "name at least one, for instance [assistant]"


def _evaluation(recipe: Recipe) -> Iterator[Contradiction]:
    evaluated = bool(recipe.data.evaluate or recipe.data.holdout)
    if recipe.evaluate.generate and not recipe.data.test:
        yield "evaluate.generate", "there are no rows to answer", "name them in data.test"
    for key, wanted in (("patience", recipe.evaluate.patience is not None), ("keep_best", recipe.evaluate.keep_best)):
        if wanted and (not evaluated or recipe.evaluate.every == "never"):
            yield (
                f"evaluate.{key}",
                "nothing is evaluated to go by",
                "name data.evaluate or data.holdout, and evaluate.every",
            )
    if recipe.schedule.follows_evaluations and (not evaluated or recipe.evaluate.every == "never"):
        reason = f"{recipe.schedule.kind} goes by how evaluations turn out, and nothing is evaluated"
        yield "schedule.kind", reason, "name data.evaluate or data.holdout, and evaluate.every"
    if evaluated and (recipe.evaluate.goes_by_metric or recipe.schedule.follows_evaluations):
        yield from _best_metric(recipe)


def _best_metric(recipe: Recipe) -> Iterator[Contradiction]:
    """A metric that is never there, or that is taken to grow where it falls."""
    settings, kind = recipe.evaluate, recipe.method.kind
    metric, key = settings.best_metric, "evaluate.best_metric"
    own = _figures(recipe)
    if own is not None and metric not in own and not (settings.generate_during and metric in settings.metrics):
        remedy = f"add {metric} to evaluate.metrics, set evaluate.generate_during: true, and name data.evaluate"
        if kind in PREFERENCES:
            remedy = f"use one of: {', '.join(own)}"
        yield key, f"{metric} is not measured in the course of the run", remedy
    elif metric in FALLING and settings.higher_is_better:
        yield "evaluate.higher_is_better", f"the {metric} is better when it is lower", "set it to false"
    elif metric.startswith(GROWING) and not settings.higher_is_better:
        yield "evaluate.higher_is_better", f"{metric} is better when it is higher", "set it to true"


def _figures(recipe: Recipe) -> tuple[str, ...] | None:
    """What the objective tells of evaluation rows, by name; None of an objective of the user's own."""
    method = recipe.method
    if method.kind in ("pretrain", "sft"):
        return "loss", "perplexity"
    if method.kind not in PREFERENCES:
        return None
    weight = float(method.kind == "cpo") if method.nll_weight is None else method.nll_weight
    likely = method.kind == "orpo" or (weight and method.kind not in ("kto", "reward"))
    return (
        *("loss", "rewards/chosen", "rewards/rejected"),
        *(("rewards/margins", "rewards/accuracies") if method.kind != "kto" else ("kl",)),
        *(("logps/chosen", "logps/rejected") if method.kind != "reward" else ()),
        *(("nll",) if likely else ()),
    )
