"""How many parameters there are, and how many train."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from math import prod

from luthier.model.adapter_files import is_feedforward
from luthier.model.free import means
from luthier.model.last_layers import EMBEDDINGS, LOGITS, last_layers
from luthier.model.shape import Shape
from luthier.plan.adapted import adapted_layers, rank_of
from luthier.recipe import Recipe
from luthier.recipe.adapter import Adapter

ENDS = tuple(f"{name}.weight" for name in (*EMBEDDINGS, *LOGITS))
"""Ends of the names of the embeddings and the output layer."""


def with_rows(shape: Shape, rows: int, new: int = 0) -> Shape:
    """The shape with embeddings, and an output layer of its own, of at least so many rows, as ``build_model`` grows
    them for the tokens of a tokenizer, ``new`` of which the recipe adds to it."""
    shape = replace(shape, new_rows=new) if new else shape
    embedding = next(
        (one for name, (one, _) in shape.parameters.items() if name.endswith(ENDS[: len(EMBEDDINGS)])), (rows,)
    )
    if embedding[0] >= rows:
        return shape
    grown = {
        name: ((rows, *dimensions[1:]), width) if name.endswith(ENDS) else (dimensions, width)
        for name, (dimensions, width) in shape.parameters.items()
    }
    return replace(shape, vocabulary=rows, parameters=grown)


def trainable_parameters(recipe: Recipe, shape: Shape) -> int:
    """Parameters that the optimiser moves. LoRA adds rank x (in + out) to each adapted layer (Hu et al. 2021), (IA)3
    one number to each output, or input of an MLP's last layer (Liu et al. 2022), a prefix keys and values of every
    layer (Liu et al. 2021) or the network that makes them (Li & Liang 2021), a prompt embeddings (Lester et al.
    2021)."""
    adapter = recipe.adapter
    if adapter.kind == "lora":
        return _lora_parameters(recipe, shape)
    if adapter.kind == "prefix":
        return _prefix_parameters(adapter, shape.kv_heads * shape.head_size, shape.layers)
    if adapter.kind == "prompt":
        return adapter.virtual_tokens * shape.hidden
    if adapter.kind == "ia3":
        scaled = adapted_layers(recipe.adapter, shape).items()
        vectors = sum(sizes[is_feedforward(name)] for name, sizes in scaled)
        return vectors + _whole_modules(recipe, shape) + _new_rows(recipe, shape)
    return sum(prod(dimensions) for name, (dimensions, _) in shape.parameters.items() if trains(recipe, name, shape))


def _prefix_parameters(adapter: Adapter, width: int, layers: int) -> int:
    """A prefix's keys and values of ``width`` in each layer, or the embeddings and the two layers that make them."""
    made = 2 * layers * width
    if not adapter.projection:
        return adapter.virtual_tokens * made
    between = adapter.projection_width or width
    return adapter.virtual_tokens * width + (width + 1) * between + (between + 1) * made


def trains(recipe: Recipe, name: str, shape: Shape) -> bool:
    """Whether a parameter of the model itself trains in full: all do without an adapter, or those that
    ``model.trainable`` and ``model.last_layers`` name; under an adapter those of the modules saved beside it."""
    if recipe.adapter.kind != "none":
        return _inside(recipe.adapter.modules_to_save, name)
    patterns, last = recipe.model.trainable, recipe.model.last_layers
    if not patterns and last is None:
        return True
    if means(patterns, name, shape.sources):
        return True
    return last is not None and name in last_layers(tuple(shape.parameters), shape.layers, last)


def _lora_parameters(recipe: Recipe, shape: Shape) -> int:
    """What the adapter adds (DoRA one magnitude per output as well), and what trains in full beside it."""
    adapter, layers = recipe.adapter, adapted_layers(recipe.adapter, shape)
    magnitudes = sum(rows for rows, _ in layers.values()) if adapter.dora else 0
    biases = sum(
        prod(dimensions)
        for name, (dimensions, _) in shape.parameters.items()
        if _bias_trains(adapter, name, layers) and not _inside(adapter.modules_to_save, name)
    )
    return lora_matrices(recipe, shape) + magnitudes + biases + _whole_modules(recipe, shape) + _new_rows(recipe, shape)


def lora_matrices(recipe: Recipe, shape: Shape) -> int:
    """Numbers in the A and B matrices."""
    layers = adapted_layers(recipe.adapter, shape).items()
    return sum(rank_of(recipe.adapter, name) * (rows + columns) for name, (rows, columns) in layers)


def _new_rows(recipe: Recipe, shape: Shape) -> int:
    """Rows of the embeddings, and of an output layer of its own, that train for the tokens the recipe adds; a layer
    that trains whole has them already."""
    ends = [name for name in shape.parameters if name.endswith(ENDS)]
    return shape.new_rows * shape.hidden * sum(not _inside(recipe.adapter.modules_to_save, name) for name in ends)


def _whole_modules(recipe: Recipe, shape: Shape) -> int:
    """Parameters of the modules saved beside an adapter; a tied output layer, which no file holds, is one as well, for
    it trains as a copy of the embedding."""
    modules = recipe.adapter.modules_to_save
    ends = [prod(dimensions) for name, (dimensions, _) in shape.parameters.items() if name.endswith(ENDS)]
    tied = len(ends) == 1 and any(name.endswith(modules) for name in LOGITS)
    inside = (prod(dimensions) for name, (dimensions, _) in shape.parameters.items() if _inside(modules, name))
    return sum(inside) + (ends[0] if tied else 0)


def _inside(modules: tuple[str, ...], name: str) -> bool:
    """Whether a parameter is part of a module whose name ends in one of these, as PEFT matches."""
    parts = name.split(".")
    return any(".".join(parts[:end]).endswith(modules) for end in range(1, len(parts)))


def _bias_trains(adapter: Adapter, name: str, layers: Collection[str]) -> bool:
    if adapter.bias == "none" or not name.endswith(".bias"):
        return False
    return adapter.bias == "all" or name.removesuffix(".bias") in layers
