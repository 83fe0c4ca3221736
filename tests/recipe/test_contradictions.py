"""Contradictions between settings."""

from __future__ import annotations

import re
from typing import Any

import pytest

from luthier.recipe import Recipe
from luthier.recipe.contradictions import contradictions
from tests.recipe.made import ANSWERED, ANSWERING, BASE, PLAIN, ROWS, SCRATCH, recipe


def _judged(kind: str, metric: str, **evaluate: Any) -> Recipe:
    settings = {"keep_best": True, "best_metric": metric, **evaluate}
    return recipe(BASE, method={"kind": kind}, data={"holdout": 0.1}, evaluate=settings)


@pytest.mark.parametrize(
    "tree",
    [
        PLAIN,
        recipe(SCRATCH),
        recipe(SCRATCH, model={"scratch": {"hidden": 64, "heads": 4, "kv_heads": 2, "max_positions": 1024}}),
        recipe(BASE, pack={"length": 1024}),
        recipe(BASE, pack={"kind": "none", "length": 10}),
        recipe(BASE, quantise={"bits": 4}, adapter={"kind": "lora"}),
        recipe(BASE, data={"evaluate": ROWS}, evaluate={"patience": 2, "keep_best": True}),
        recipe(BASE, data={"holdout": 0.1}, evaluate={"patience": 2}),
        recipe(ANSWERING, evaluate={"keep_best": True, "best_metric": "exact_match", "higher_is_better": True}),
        recipe(BASE, evaluate={"best_metric": "f1"}),
        _judged("dpo", "rewards/accuracies", higher_is_better=True),
        _judged("kto", "kl"),
        _judged("cpo", "nll"),
        _judged("mine:Own", "own/figure"),
        ANSWERED,
        recipe(BASE, adapter={"targets": r".*\.q_proj", "rank_pattern": {"q_proj": 4}}, model={"trainable": ["norm"]}),
    ],
)
def test_what_fits_together_is_let_through(tree: Recipe) -> None:
    assert contradictions(tree) == []


@pytest.mark.parametrize(
    ("key", "reason", "tree"),
    [
        ("model", "no model is named", recipe({"data": {"train": ROWS}})),
        (
            "model.scratch",
            "either from model.path or from scratch",
            recipe(BASE, model={"scratch": {"max_positions": 1024}}, tokenizer={"path": "x"}),
        ),
        ("adapter.kind", "needs trained weights", recipe(SCRATCH, adapter={"kind": "lora"})),
        ("quantise.bits", "cannot train by themselves", recipe(BASE, quantise={"bits": 8})),
        ("model.trainable", "not a regular expression", recipe(BASE, model={"trainable": ["fine", "("]})),
        ("adapter.targets", "not a regular expression", recipe(BASE, adapter={"targets": "*_proj"})),
        ("adapter.rank_pattern", "not a regular expression", recipe(BASE, adapter={"rank_pattern": {"[": 4}})),
        ("adapter.alpha_pattern", "not a regular expression", recipe(BASE, adapter={"alpha_pattern": {"[": 4.0}})),
        (
            "model.scratch.heads",
            "100 features do not divide into 3 heads",
            recipe(SCRATCH, model={"scratch": {"hidden": 100, "heads": 3}}),
        ),
        (
            "model.scratch.heads",
            "3 features cannot be rotated",
            recipe(SCRATCH, model={"scratch": {"hidden": 12, "heads": 4}}),
        ),
        (
            "model.scratch.kv_heads",
            "8 heads do not divide into 3 groups",
            recipe(SCRATCH, model={"scratch": {"kv_heads": 3}}),
        ),
        (
            "data.max_length",
            r"longer than model.scratch.max_positions \(512\)",
            recipe(SCRATCH, model={"scratch": {"max_positions": 512}}),
        ),
        ("tokenizer", "has none of its own", recipe(SCRATCH, tokenizer={"train": None})),
        ("tokenizer.train", "either trained or read", recipe(SCRATCH, tokenizer={"path": "x"})),
        ("tokenizer.train", "change the meaning of trained embeddings", recipe(BASE, tokenizer={"train": {}})),
        (
            "tokenizer.train.eos",
            "not among tokenizer.train.special",
            recipe(SCRATCH, tokenizer={"train": {"eos": "</s>"}}),
        ),
        ("data.train", "no rows to train on", recipe(BASE, data={"train": []})),
        ("pack.length", r"shorter than the longest document \(1024\)", recipe(BASE, pack={"length": 1023})),
        ("data.holdout", "named and held out as well", recipe(BASE, data={"evaluate": ROWS, "holdout": 2})),
        ("data.train_on", "no role is learned", recipe(BASE, data={"train_on": []})),
        ("evaluate.generate", "no rows to answer", recipe(BASE, evaluate={"generate": True})),
        ("evaluate.patience", "nothing is evaluated", recipe(BASE, evaluate={"patience": 1})),
        ("evaluate.keep_best", "nothing is evaluated", recipe(BASE, evaluate={"keep_best": True})),
        (
            "evaluate.patience",
            "nothing is evaluated",
            recipe(BASE, data={"holdout": 0.1}, evaluate={"patience": 1, "every": "never"}),
        ),
        (
            "evaluate.best_metric",
            "rouge-l is not measured",
            recipe(BASE, data={"evaluate": ROWS}, evaluate={"keep_best": True, "best_metric": "rouge-l"}),
        ),
        (
            "evaluate.higher_is_better",
            "better when it is higher",
            recipe(ANSWERING, evaluate={"patience": 2, "best_metric": "exact_match"}),
        ),
        (
            "evaluate.higher_is_better",
            "the loss is better when it is lower",
            recipe(BASE, data={"evaluate": ROWS}, evaluate={"keep_best": True, "higher_is_better": True}),
        ),
        ("evaluate.higher_is_better", "better when it is higher", _judged("dpo", "rewards/accuracies")),
        ("evaluate.higher_is_better", "better when it is higher", _judged("reward", "rewards/margins")),
        (
            "evaluate.higher_is_better",
            "the nll is better when it is lower",
            _judged("orpo", "nll", higher_is_better=True),
        ),
        ("evaluate.best_metric", "perplexity is not measured", _judged("dpo", "perplexity")),
        ("evaluate.best_metric", "rewards/accuracies is not measured", _judged("kto", "rewards/accuracies")),
        ("evaluate.best_metric", "nll is not measured", _judged("dpo", "nll")),
    ],
)
def test_each_contradiction_is_found_alone_with_its_key_and_a_remedy(key: str, reason: str, tree: Recipe) -> None:
    [(found, told, remedy)] = contradictions(tree)
    assert found == key and re.search(reason, told) and remedy


def test_all_contradictions_are_found_at_once() -> None:
    tree = recipe({}, quantise={"bits": 4}, data={"train_on": []})
    assert [key for key, _, _ in contradictions(tree)] == ["model", "quantise.bits", "data.train", "data.train_on"]
