"""Bytes that a run holds at its peak, by part.

Weights, gradients and optimiser state follow from counts. Activations are what the backward pass of a Llama-like layer
needs, token by token (after Korthikanti et al. 2022, "Reducing Activation Recomputation", table 2, without the
attention matrix, which fused attention never holds).
"""

from __future__ import annotations

from math import prod

from luthier.model.shape import Shape
from luthier.plan.parameters import adapted_layers, trainable_parameters
from luthier.recipe import Recipe

STATES = {"adamw": 2, "sgd": 0}
"""Numbers that an optimiser keeps per trained parameter."""

PROCESS = 400 << 20
"""Bytes of a process that has loaded Python, torch, transformers and PEFT (measured: 360 MB); host memory only."""

WIDTH = {"fp32": 4, "bf16": 2, "fp16": 2}


def weight_bytes(recipe: Recipe, shape: Shape) -> int:
    """The weights as they are held: frozen ones as stored, trained ones in fp32, unless model.dtype says otherwise; an
    adapter's are in fp32 always."""
    dtype = recipe.model.dtype
    if recipe.adapter.kind == "none":
        return shape.count * trained_width(recipe)
    if dtype != "auto":
        base = shape.count * WIDTH[dtype]
    else:
        base = sum(prod(dimensions) * width for dimensions, width in shape.parameters.values())
    return base + 4 * trainable_parameters(recipe, shape)


def trained_width(recipe: Recipe) -> int:
    """Bytes of each trained number, and of its gradient and optimiser state."""
    return 4 if recipe.adapter.kind != "none" else WIDTH.get(recipe.model.dtype, 4)


def activation_bytes(recipe: Recipe, shape: Shape, tokens: int, compute: str) -> int:
    """What the backward pass needs of ``tokens`` tokens."""
    width = WIDTH[compute]
    attention = shape.heads * shape.head_size
    kept = shape.hidden * (2 * 4 + 3 * width) + width * (
        2 * attention + 2 * shape.kv_heads * shape.head_size + 4 * shape.intermediate
    )
    if recipe.adapter.kind == "lora":
        kept += width * recipe.adapter.rank * len(adapted_layers(recipe, shape)) // max(1, shape.layers)
    if recipe.runtime.gradient_checkpointing:
        return tokens * (shape.layers * shape.hidden * 4 + kept)
    return tokens * shape.layers * kept


def peak_memory(
    recipe: Recipe, shape: Shape, tokens: int, targets: int, compute: str, device: str = "cpu"
) -> dict[str, int]:
    """Bytes by part for a micro-batch of ``tokens`` tokens, ``targets`` of them trained."""
    trained = trained_width(recipe) * trainable_parameters(recipe, shape)
    return {
        "weights": weight_bytes(recipe, shape),
        "gradients": trained,
        "optimizer": STATES.get(recipe.optimizer.kind, 2) * trained,
        "activations": activation_bytes(recipe, shape, tokens, compute),
        **({"process": PROCESS} if device == "cpu" else {}),
        "logits": targets * shape.vocabulary * (WIDTH[compute] + 2 * 4),
    }
