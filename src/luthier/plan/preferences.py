"""What learning from judged answers cannot do, and which settings its methods do not ask for."""

from __future__ import annotations

from luthier.data.preference import is_judging
from luthier.model.adapter_files import changes_base
from luthier.plan.refusal import Row
from luthier.recipe import Recipe

CONTRASTS = ("sigmoid", "hinge", "ipo")
"""Losses that CPO has."""


def reference_of(recipe: Recipe) -> str:
    """What a recipe's reference costs: ``copy`` (weights and forward passes), ``pass`` (forward passes), or nothing."""
    method, adapter = recipe.method, recipe.adapter.kind
    if method.kind not in ("dpo", "ipo", "kto") or method.reference in ("precomputed", "none"):
        return ""
    return "copy" if method.reference == "model" or adapter == "none" else "pass"


def preference_rows(recipe: Recipe) -> tuple[Row, ...]:
    """Every value that is not there yet where answers are judged."""
    method, adapter = recipe.method, recipe.adapter.kind
    switched = method.kind in ("dpo", "ipo", "kto") and method.reference == "adapter_off"
    kto, reward, judged = method.kind == "kto", method.kind == "reward", is_judging(recipe)
    alone = recipe.pack.kind == "none" and recipe.batch.micro == 1
    return (
        (
            kto and method.reference == "precomputed",
            "method.reference",
            "kto needs answers to other prompts of the same batch, which nobody knows beforehand",
            "set method.reference: auto",
        ),
        (
            switched and adapter == "none",
            "method.reference",
            "only an adapter can be switched off",
            "set method.reference: auto",
        ),
        (
            switched and changes_base(recipe.adapter),
            "method.reference",
            "only what the adapter adds is switched off, and not what it does to the base itself: "
            f"adapter.bias: {recipe.adapter.bias}, adapter.init: {recipe.adapter.init}",
            "set method.reference: auto, which keeps the adapted model as it began",
        ),
        (
            method.kind == "cpo" and method.loss not in CONTRASTS,
            "method.loss",
            f"cpo has only {', '.join(CONTRASTS)}",
            "use one of them, or method.kind: dpo",
        ),
        (
            method.kind == "dpo" and method.loss == "robust" and method.preference_smoothing >= 0.5,
            "method.preference_smoothing",
            "robust needs more right judgements than wrong ones",
            "set it below 0.5",
        ),
        (
            judged and recipe.pack.kind == "concatenate",
            "pack.kind",
            "prompts and their answers are only packed whole",
            "set pack.kind: best_fit",
        ),
        (
            kto and alone,
            "batch.micro",
            "kto needs at least two rows in a forward pass, to compare answers to different prompts",
            "set batch.micro: 2, or pack.kind: best_fit",
        ),
        (
            reward and recipe.evaluate.generates,
            "evaluate.generate",
            "a reward model only gives numbers",
            "set evaluate.generate: false and evaluate.generate_during: false",
        ),
        (
            reward and adapter in ("prefix", "prompt"),
            "adapter.kind",
            f"a reward model's head only trains beside lora or ia3, not beside {adapter}",
            "set adapter.kind: lora",
        ),
        (
            reward and recipe.output.merge and adapter != "none",
            "output.merge",
            "only language models are merged",
            "set output.merge: false",
        ),
    )
