"""The reference that a finished run's preferences were measured against, found again."""

from __future__ import annotations

from typing import Any

from luthier.errors import RunError
from luthier.methods.reference import Copied, Reference, Uniform, WithoutAdapter
from luthier.model.adapter_files import changes_base
from luthier.model.attention_alone import is_alone, run_alone
from luthier.model.attention_branches import register_branches
from luthier.model.load import open_model
from luthier.plan.inputs import model_directory
from luthier.recipe import Recipe

AS_BASE = ("default", "gaussian", "pissa", "olora", "orthogonal")
"""Starts of LoRA from which the adapted model says what its base does."""


def with_reference_again(method: Any, model: Any, recipe: Recipe, attention: str) -> Any:
    """The method of a preference run with its reference: the base, below the adapter or opened once more; and the model
    with attention that branches, which judged answers need, where its documents do not go alone.

    Raises:
        RunError: what the run began from is not on the disk.
    """
    if getattr(method, "shared", False) and not is_alone(model):
        attention = register_branches(attention)
        model.set_attn_implementation(attention)
    if getattr(method, "needs_reference", False):
        method.reference = _reference(model, recipe, attention)
    return method


def _reference(model: Any, recipe: Recipe, attention: str) -> Reference:
    adapter, kind = recipe.adapter, recipe.method.reference
    if kind == "none":
        return Uniform()
    if adapter.kind == "none":
        directory = model_directory(recipe)
        if directory is None:
            raise RunError(
                "the run began from scratch, and what it began from was not kept",
                place="method.reference",
                remedy="evaluate by method.reference=none",
            )
        base = open_model(directory, attention, "auto").to(model.device)
        if is_alone(model):
            run_alone(base)
        return Copied(base, own=True)
    as_base = adapter.kind == "ia3" or (adapter.kind == "lora" and adapter.init in AS_BASE)
    if kind != "adapter_off" and (adapter.continue_from is not None or not as_base):
        raise RunError(
            "the adapter began as something, which is not in the result any more",
            place="method.reference",
            remedy="evaluate by method.reference=none"
            if changes_base(adapter)
            else "evaluate by method.reference=adapter_off (the base alone) or none",
        )
    return WithoutAdapter()
