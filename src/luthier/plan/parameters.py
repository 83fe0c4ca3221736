"""How many parameters there are, and how many train."""

from __future__ import annotations

import re
from collections.abc import Collection
from math import prod

from luthier.model.adapter_files import is_feedforward
from luthier.model.shape import Shape
from luthier.recipe import Recipe
from luthier.recipe.adapter import Adapter


def adapted_layers(recipe: Recipe, shape: Shape) -> dict[str, tuple[int, int]]:
    """The linear layers that get a LoRA or (IA)3 adapter: name -> (out, in)."""
    targets = recipe.adapter.targets
    linear = shape.linear()
    if targets == "all-linear":
        return linear
    if isinstance(targets, str):
        pattern = re.compile(targets)
        return {name: size for name, size in linear.items() if pattern.fullmatch(name)}
    return {name: size for name, size in linear.items() if any(name == t or name.endswith(f".{t}") for t in targets)}


def trainable_parameters(recipe: Recipe, shape: Shape) -> int:
    """Parameters that the optimiser moves. LoRA adds rank x (in + out) to each adapted layer (Hu et al. 2021), (IA)3
    one number to each output, or input of an MLP's last layer (Liu et al. 2022), a prefix keys and values of every
    layer (Liu et al. 2021), a prompt embeddings (Lester et al. 2021)."""
    adapter = recipe.adapter
    if adapter.kind == "lora":
        return _lora_parameters(recipe, shape)
    if adapter.kind == "prefix":
        return adapter.virtual_tokens * 2 * shape.layers * shape.kv_heads * shape.head_size
    if adapter.kind == "prompt":
        return adapter.virtual_tokens * shape.hidden
    if adapter.kind == "ia3":
        scaled = adapted_layers(recipe, shape).items()
        return sum(sizes[is_feedforward(name)] for name, sizes in scaled) + _whole_modules(recipe, shape)
    patterns = [re.compile(pattern) for pattern in recipe.model.trainable]
    if recipe.model.last_layers is not None:
        kept = "|".join(str(layer) for layer in range(shape.layers - recipe.model.last_layers, shape.layers))
        patterns.append(re.compile(rf"\.layers\.({kept})\.|lm_head|\.norm\."))
    return sum(
        prod(dimensions)
        for name, (dimensions, _) in shape.parameters.items()
        if not patterns or any(pattern.search(name) for pattern in patterns)
    )


def _lora_parameters(recipe: Recipe, shape: Shape) -> int:
    """What the adapter adds (DoRA one magnitude per output as well), and what trains in full beside it."""
    adapter, layers = recipe.adapter, adapted_layers(recipe, shape)
    added = sum(
        _rank(adapter, name) * (rows + columns) + (rows if adapter.dora else 0)
        for name, (rows, columns) in layers.items()
    )
    beside = sum(
        prod(dimensions)
        for name, (dimensions, _) in shape.parameters.items()
        if _inside(adapter.modules_to_save, name) or _bias_trains(adapter, name, layers)
    )
    return added + beside


def _whole_modules(recipe: Recipe, shape: Shape) -> int:
    modules = recipe.adapter.modules_to_save
    return sum(prod(dimensions) for name, (dimensions, _) in shape.parameters.items() if _inside(modules, name))


def _rank(adapter: Adapter, layer: str) -> int:
    """The layer's own rank: the first pattern that ends its name, as PEFT matches."""
    return next(
        (rank for pattern, rank in adapter.rank_pattern.items() if re.match(rf"(.*\.)?({pattern})$", layer)),
        adapter.rank,
    )


def _inside(modules: tuple[str, ...], name: str) -> bool:
    """Whether a parameter is part of a module whose name ends in one of these, as PEFT matches."""
    parts = name.split(".")
    return any(".".join(parts[:end]).endswith(modules) for end in range(1, len(parts)))


def _bias_trains(adapter: Adapter, name: str, layers: Collection[str]) -> bool:
    if adapter.bias == "none" or not name.endswith(".bias"):
        return False
    return adapter.bias == "all" or name.removesuffix(".bias") in layers
