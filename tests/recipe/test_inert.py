"""Settings that cannot matter beside the others."""

from __future__ import annotations

import pytest

from luthier.recipe import Recipe
from luthier.recipe.field import fields_of
from luthier.recipe.inert import inert, why_inert
from tests.recipe.made import ANSWERED, BASE, IA3, LORA, PLAIN, PREFIX, PROMPT, ROWS, SCRATCH, recipe

MERGED = recipe(BASE, adapter={"kind": "lora"}, output={"merge": True})


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
        ("output.dtype", "an adapter is saved as it trains", LORA, PLAIN),
        ("output.dtype", "an adapter is saved as it trains", PREFIX, MERGED),
        ("output.shard_size", "in one file", IA3, MERGED),
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
        ("optimizer.beta1", "lomo has no such constant", recipe(BASE, optimizer={"kind": "lomo"}), PLAIN),
        (
            "optimizer.epsilon",
            "lion_32bit has no such constant",
            recipe(BASE, optimizer={"kind": "lion"}),
            recipe(BASE, optimizer={"kind": "lamb"}),
        ),
        (
            "optimizer.args.target_modules",
            "sgd has no such constant",
            recipe(BASE, optimizer={"kind": "sgd", "args": {"target_modules": ["mlp"]}}),
            recipe(BASE, optimizer={"kind": "apollo_adamw_layerwise", "args": {"target_modules": ["mlp"]}}),
        ),
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


def test_the_processes_that_prepare_rows_are_never_inert() -> None:
    assert why_inert(inert(PLAIN), "data.workers") == ""


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
