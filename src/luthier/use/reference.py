"""The reference that a finished run's preferences were measured against, found again."""

from __future__ import annotations

from typing import Any

import torch

from luthier.methods.reference import Copied, Reference, Uniform, WithoutAdapter
from luthier.model.adapters import add_adapter
from luthier.model.attention_alone import is_alone, run_alone
from luthier.model.attention_branches import register_branches
from luthier.model.load import build_model
from luthier.model.precision import DTYPES
from luthier.plan.inputs import ids_added, model_directory
from luthier.recipe import Recipe
from luthier.use.result import Result

AS_BASE = ("default", "gaussian", "pissa", "olora", "orthogonal")
"""Starts of LoRA from which the adapted model says what its base does."""


def with_reference_again(method: Any, model: Any, recipe: Recipe, result: Result) -> Any:
    """The method of a preference run with its reference: the base below the adapter, or what the run began from, built
    once more; and the model with attention that branches, which judged answers need, where its documents do not go
    alone.

    Raises:
        ModelError: what the run began from is not on the disk.
    """
    attention = model.config._attn_implementation
    if getattr(method, "shared", False) and not is_alone(model):
        attention = register_branches(attention)
        model.set_attn_implementation(attention)
    if getattr(method, "needs_reference", False):
        method.reference = _reference(model, recipe, attention, result)
    return method


def _reference(model: Any, recipe: Recipe, attention: str, result: Result) -> Reference:
    adapter, kind = recipe.adapter, recipe.method.reference
    if kind == "none":
        return Uniform()
    as_base = adapter.kind == "ia3" or (adapter.kind == "lora" and adapter.init in AS_BASE)
    if kind == "adapter_off" or (as_base and adapter.continue_from is None):
        return WithoutAdapter()
    began = _as_it_began(recipe, result, model.dtype).to(model.device)
    if not is_alone(began):
        began.set_attn_implementation(attention)
        if is_alone(model):
            run_alone(began)
    return Copied(began, own=True)


def _as_it_began(recipe: Recipe, result: Result, dtype: torch.dtype) -> Any:
    """The model before the first step of its run, which follows from its recipe; its weights in the result's type."""
    named = next((name for name, one in DTYPES.items() if one is dtype), "auto")
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"dtype": named})})
    encoder, directory = result.encoder, model_directory(recipe)
    bare = build_model(recipe, encoder.vocabulary, directory, encoder.special_ids())
    return add_adapter(bare, recipe, ids_added(recipe, result.directory))
