"""What an adapter's settings say of the model's layers and cannot hold, known from the checkpoint's headers alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from luthier.errors import Fault, ModelError
from luthier.model.as_loaded import BODIES
from luthier.model.chatglm import native_names
from luthier.model.free import pattern_faults
from luthier.model.kernels.architectures import OWN_ATTENTION, WITH_STATE
from luthier.model.known_tokens import added_before_loading
from luthier.model.last_layers import EMBEDDINGS, OUTPUTS
from luthier.model.layer_names import EXPERTS, NO_EXPERTS, absent, beside_rows, bypassed, misnamed, targeted, with_parts
from luthier.model.shape import Shape, shape_of_directory, shape_of_scratch, weight_files
from luthier.plan.adapted import adapted_layers, halves, on_parameters
from luthier.recipe import Recipe
from luthier.recipe.adapter import Adapter

LATENT = "kv_b_proj.weight"
"""Ends the name of what makes keys and values of one latent vector, as DeepSeek's attention does."""


def layer_faults(recipe: Recipe) -> Iterator[Fault]:
    """What is wrong with an adapter on a model whose directory is here."""
    shape = _shape_here(recipe) if recipe.adapter.kind != "none" else None
    if shape is None:
        return
    if recipe.adapter.kind == "prefix":
        yield from _without_prefix(shape)
    if recipe.adapter.continue_from is not None:
        return
    adapter = native_names(recipe.adapter, shape.architecture)
    if shape.architecture in BODIES:
        yield from _unnamed(adapter, shape)
    yield from bypassed(adapter, shape.architecture, shape.modules())
    if on_parameters(adapter, shape):
        yield from _of_experts(adapter)
    layers = [name.removesuffix(".weight") for name in shape.parameters]
    embedding = next((name for name in layers if name.endswith(EMBEDDINGS)), None)
    if embedding is not None and added_before_loading(recipe):
        tied = not any(name.endswith(OUTPUTS) for name in layers)
        yield from beside_rows(adapter, embedding, OUTPUTS[0], tied=tied)


def weight_faults(recipe: Recipe) -> Iterator[Fault]:
    """What a model whose directory is here lacks of its weights, as after a download that was broken off."""
    directory = _directory_here(recipe)
    try:
        if directory is not None:
            weight_files(directory)
    except ModelError as error:
        yield from error.faults


def _directory_here(recipe: Recipe) -> Path | None:
    directory = Path(recipe.model.path).expanduser() if recipe.model.path is not None else None
    return directory if directory is not None and directory.is_dir() else None


def _shape_here(recipe: Recipe) -> Shape | None:
    """The shape of a model whose directory is here; None where it is not, or cannot be read."""
    directory = _directory_here(recipe)
    try:
        return shape_of_directory(directory) if directory is not None else None
    except ModelError:
        return None


def _without_prefix(shape: Shape) -> Iterator[Fault]:
    """Models before whose keys and values no trained ones can be put."""
    reason = ""
    if shape.architecture in OWN_ATTENTION | WITH_STATE:
        reason = f"{shape.architecture} takes its documents one by one, which a trained prefix does not do"
    elif any(name.endswith(LATENT) for name in shape.parameters):
        reason = f"{shape.architecture} makes its keys wider than its values, and PEFT's prefix has one width for both"
    if reason:
        yield Fault(reason, "adapter.kind", "use lora or prompt")


def _unnamed(adapter: Adapter, shape: Shape) -> Iterator[Fault]:
    """Names of no layer, and of layers that cannot have the adapter."""
    if adapter.kind not in ("lora", "ia3"):
        return
    half = halves(adapter, shape)
    if half is not None:
        named, lacking = half
        yield Fault(
            f"{named} and {lacking} of the experts lie in one tensor, which takes one adapter",
            "adapter.targets",
            f"name {lacking} as well",
        )
        return
    adapted = with_parts(adapted_layers(adapter, shape))
    faults = list(misnamed(adapter, shape.modules(), adapted))
    yield from faults
    bare = [layer.removesuffix(".weight") for layer in adapted]
    for name in () if faults or isinstance(adapter.targets, str) else adapter.targets:
        if _means_one(name, shape.modules()) and not _means_one(name, bare):
            leaves = sorted({layer.rpartition(".")[2] for layer in shape.linear()})
            reason = f"{name!r} is no layer that {adapter.kind} can be put on"
            yield Fault(reason, "adapter.targets", f"use some of: {', '.join(leaves)}")


def _means_one(name: str, layers: Collection[str]) -> bool:
    return any(targeted((name,), layer) for layer in layers)


def _of_experts(adapter: Adapter) -> Iterator[Fault]:
    """What LoRA lacks on the experts' tensors."""
    if adapter.init in ("pissa", "olora"):
        yield Fault(EXPERTS.format(adapter.init), "adapter.init", NO_EXPERTS)
    for holds, key, what, remedy in (
        (adapter.dropout > 0, "adapter.dropout", "dropout", "set adapter.dropout: 0"),
        (adapter.dora, "adapter.dora", "DoRA", "set adapter.dora: false"),
        (adapter.fan_in_fan_out, "adapter.fan_in_fan_out", "other order of its weights", "set it to false"),
    ):
        if holds:
            reason = f"the experts of this model lie in one tensor, on which LoRA has no {what}"
            yield Fault(reason, key, f"{remedy}, or name layers of attention alone in adapter.targets")


def trainable_faults(recipe: Recipe) -> Iterator[Fault]:
    """Expressions that mean no parameter of a model that trains in full, where its names are known by now."""
    patterns, scratch = recipe.model.trainable, recipe.model.scratch
    if recipe.adapter.kind != "none" or not patterns:
        return
    shape = _shape_here(recipe) if scratch is None else shape_of_scratch(scratch, 1)
    if shape is not None and shape.architecture in BODIES:
        judge = recipe.method.kind == "reward"
        names = [name for name in shape.parameters if not (judge and name == f"{OUTPUTS[0]}.weight")]
        yield from pattern_faults(patterns, [*names, *(["score.weight"] if judge else [])], shape.sources)


def passed_over(recipe: Recipe, shape: Shape) -> Iterator[str]:
    """What to say of targets that the model lacks and that are no mistake."""
    if recipe.adapter.kind not in ("lora", "ia3") or shape.architecture not in BODIES:
        return
    lacking = absent(recipe.adapter, [*shape.modules(), *with_parts(adapted_layers(recipe.adapter, shape))])
    if lacking:
        yield f"adapter.targets: the model has no {', '.join(lacking)}; only the other targets are adapted"
