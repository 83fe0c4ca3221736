"""Contradictions between settings, and settings that cannot matter."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from luthier.recipe import Recipe
from luthier.recipe.checks import contradictions, inert, why_inert
from luthier.recipe.field import fields_of

ROWS = [{"path": "rows.jsonl"}]
BASE: dict[str, Any] = {"model": {"path": "some/model"}, "data": {"train": ROWS}}
SCRATCH: dict[str, Any] = {"model": {"scratch": {}}, "data": {"train": ROWS}, "tokenizer": {"train": {}}}


def recipe(base: dict[str, Any], **sections: Any) -> Recipe:
    tree = {**base}
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section}
    return Recipe.model_validate_json(json.dumps(tree))


PLAIN = recipe(BASE)
LORA = recipe(BASE, adapter={"kind": "lora"})
IA3 = recipe(BASE, adapter={"kind": "ia3"})
PREFIX = recipe(BASE, adapter={"kind": "prefix"})
PROMPT = recipe(BASE, adapter={"kind": "prompt"})
ANSWERING = {**BASE, "data": {"train": ROWS, "evaluate": ROWS}, "evaluate": {"generate_during": True}}
ANSWERED = recipe(BASE, data={"test": ROWS}, evaluate={"generate": True})


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
    ],
)
def test_each_contradiction_is_found_alone_with_its_key_and_a_remedy(key: str, reason: str, tree: Recipe) -> None:
    [(found, told, remedy)] = contradictions(tree)
    assert found == key and re.search(reason, told) and remedy


def test_all_contradictions_are_found_at_once() -> None:
    tree = recipe({}, quantise={"bits": 4}, data={"train_on": []})
    assert [key for key, _, _ in contradictions(tree)] == ["model", "quantise.bits", "data.train", "data.train_on"]


@pytest.mark.parametrize(
    ("key", "reason", "off", "on"),
    [
        ("adapter.rank", "adapter.kind is none", PLAIN, LORA),
        ("optimizer.lora_plus", "adapter.kind is none", PLAIN, LORA),
        ("adapter.virtual_tokens", "lora has no virtual tokens", LORA, PREFIX),
        ("adapter.virtual_tokens", "ia3 has no virtual tokens", IA3, PROMPT),
        ("adapter.projection", "only a prefix has such a network", PROMPT, PREFIX),
        ("adapter.projection", "lora has no virtual tokens", LORA, PREFIX),
        (
            "adapter.projection_width",
            "the prefix is trained as it is",
            PREFIX,
            recipe(BASE, adapter={"kind": "prefix", "projection": True}),
        ),
        ("adapter.rank", "one number per feature", IA3, LORA),
        ("adapter.dropout", "a prefix is in no layer", PREFIX, LORA),
        ("adapter.targets", "a prompt is in no layer", PROMPT, IA3),
        ("optimizer.lora_plus", "ia3 has no B matrices", IA3, LORA),
        ("model.trainable", "the adapter trains alone", LORA, PLAIN),
        ("model.last_layers", "the adapter trains alone", LORA, PLAIN),
        ("quantise.double", "the weights are not quantised", PLAIN, recipe(BASE, quantise={"bits": 4})),
        ("pack.length", "pack.kind is none", recipe(BASE, pack={"kind": "none"}), PLAIN),
        ("batch.epochs", "batch.steps wins", recipe(BASE, batch={"steps": 3}), PLAIN),
        ("schedule.warmup_share", "schedule.warmup_steps wins", recipe(BASE, schedule={"warmup_steps": 0}), PLAIN),
        ("evaluate.generation.beams", "nothing is generated", PLAIN, ANSWERED),
        ("data.test.0.path", "evaluate.generate is off", PLAIN, ANSWERED),
        ("evaluate.metrics", "nothing is generated", PLAIN, ANSWERED),
        ("evaluate.at_start", "nothing is evaluated", PLAIN, ANSWERED),
        ("evaluate.every", "there are no evaluation rows", PLAIN, recipe(BASE, data={"evaluate": ROWS})),
        ("batch.evaluate", "there are no evaluation rows", PLAIN, recipe(BASE, data={"holdout": 1})),
        ("optimizer.beta2", "sgd has no such constant", recipe(BASE, optimizer={"kind": "sgd"}), PLAIN),
        ("runtime.compile_mode", "runtime.compile is off", PLAIN, recipe(BASE, runtime={"compile": True})),
        (
            "runtime.checkpoint_reentrant",
            "runtime.gradient_checkpointing is off",
            PLAIN,
            recipe(BASE, runtime={"gradient_checkpointing": True}),
        ),
        ("parallel.backend", "there is one process", PLAIN, recipe(BASE, parallel={"engine": "ddp"})),
        ("parallel.offload_optimizer", "there is one process", PLAIN, recipe(BASE, parallel={"stage": 2})),
        ("track.project", "no tracker is told", PLAIN, recipe(BASE, track={"to": ["wandb"]})),
        ("output.hub.private", "output.hub.push is off", PLAIN, recipe(BASE, output={"hub": {"push": True}})),
        ("data.template", "pretraining learns every token", recipe(BASE, method={"kind": "pretrain"}), PLAIN),
        ("method.beta", "no preferences to learn", PLAIN, recipe(BASE, method={"kind": "dpo"})),
        ("schedule.cycles", "a linear curve has none", recipe(BASE, schedule={"kind": "linear"}), PLAIN),
        ("schedule.power", "a cosine curve has none", PLAIN, recipe(BASE, schedule={"kind": "mine:curve"})),
    ],
)
def test_each_inert_setting_says_why_and_matters_where_its_switch_is_on(
    key: str, reason: str, off: Recipe, on: Recipe
) -> None:
    assert reason in why_inert(inert(off), key)
    assert why_inert(inert(on), key) == ""


def test_the_switch_itself_is_never_inert() -> None:
    reasons = inert(PLAIN)
    for key in (
        "adapter.kind",
        "quantise.bits",
        "pack.kind",
        "evaluate.generate",
        "output.hub.push",
        "track.to",
        "runtime.compile",
    ):
        assert why_inert(reasons, key) == ""


ODD = recipe(
    SCRATCH,
    method={"kind": "pretrain"},
    optimizer={"kind": "sgd"},
    pack={"kind": "none"},
    batch={"steps": 1},
    schedule={"warmup_steps": 1, "kind": "constant"},
)


@pytest.mark.parametrize("tree", [PLAIN, LORA, ODD])
def test_inert_names_are_settings_that_exist(tree: Recipe) -> None:
    known = {prefix for key, _ in fields_of(Recipe) for prefix in prefixes(key)}
    assert set(inert(tree)) <= known


def prefixes(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def test_a_key_that_merely_begins_like_an_inert_one_is_not_inert() -> None:
    assert why_inert({"data.test": "off"}, "data.test_more") == ""
    assert why_inert({"data.test": "off"}, "data.test.0.path") == "off"
