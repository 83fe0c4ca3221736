"""Bytes that a run holds at its peak, by part.

Weights, gradients and optimiser state follow from counts. Activations are what the backward pass of a Llama-like layer
needs, token by token (after Korthikanti et al. 2022, "Reducing Activation Recomputation", table 2, without the
attention matrix, which fused attention never holds).
"""

from __future__ import annotations

from math import ceil, prod

from luthier.data.preference import is_judging
from luthier.model.kernels.choose import Here, choose
from luthier.model.kernels.chunks import chunk_rows, keeps_logits
from luthier.model.shape import Shape
from luthier.plan.adapted import adapted_layers
from luthier.plan.parameters import trainable_parameters
from luthier.plan.preferences import reference_of
from luthier.recipe import Recipe
from luthier.recipe.optimizers import OPTIMIZERS

FIXED = ("bitsandbytes", "torchao")
"""Packages whose state has its own width, whatever the weights' is."""

PROCESS = 400 << 20
"""Bytes of a process that has loaded Python, torch, transformers and PEFT (measured: 360 MB); host memory only."""

WIDTH = {"fp32": 4, "bf16": 2, "fp16": 2}


def weight_bytes(recipe: Recipe, shape: Shape) -> int:
    """The weights as they are held: frozen ones as stored, trained ones in fp32, unless model.dtype says otherwise; an
    adapter's are in fp32 always."""
    dtype = recipe.model.dtype
    if recipe.adapter.kind == "none":
        return shape.count * trained_width(recipe)
    packed = {f"{layer}.weight": size for layer, size in shape.linear().items()} if recipe.quantise.bits < 16 else {}
    base = sum(
        _packed_bytes(recipe, *packed[name]) if name in packed else prod(dimensions) * WIDTH.get(dtype, width)
        for name, (dimensions, width) in shape.parameters.items()
    )
    return base + 4 * trainable_parameters(recipe, shape)


def _packed_bytes(recipe: Recipe, rows: int, columns: int) -> int:
    """A quantised weight: 8 bits and a scale per row; or 4 bits and a scale per block of 64, which double quantisation
    holds in 8 bits with a scale of its own per 256 of them (Dettmers et al. 2023, section 3)."""
    numbers = rows * columns
    if recipe.quantise.bits == 8:
        return numbers + 4 * rows
    blocks = ceil(numbers / 64)
    return ceil(numbers / 2) + (blocks + 4 * ceil(blocks / 256) if recipe.quantise.double else 4 * blocks)


def trained_width(recipe: Recipe) -> int:
    """Bytes of each trained number, and of its gradient and optimiser state."""
    return 4 if recipe.adapter.kind != "none" else WIDTH.get(recipe.model.dtype, 4)


def state_bytes(recipe: Recipe, shape: Shape) -> int:
    """What the optimiser keeps: as much as AdamW, where it is the recipe author's own."""
    facts = OPTIMIZERS.get(recipe.optimizer.kind, OPTIMIZERS["adamw"])
    width = 4 if facts.package in FIXED else trained_width(recipe)
    return round(facts.state * width / 4 * trainable_parameters(recipe, shape))


def activation_bytes(recipe: Recipe, shape: Shape, tokens: int, compute: str) -> int:
    """What the backward pass needs of ``tokens`` tokens."""
    width = WIDTH[compute]
    attention = shape.heads * shape.head_size
    kept = shape.hidden * (2 * 4 + 3 * width) + width * (
        2 * attention + 2 * shape.kv_heads * shape.head_size + 4 * shape.intermediate
    )
    if recipe.adapter.kind == "lora":
        kept += width * recipe.adapter.rank * len(adapted_layers(recipe.adapter, shape)) // max(1, shape.layers)
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
        **({"reference": weight_bytes(recipe, shape)} if reference_of(recipe) == "copy" else {}),
        "gradients": trained,
        "optimizer": state_bytes(recipe, shape),
        "activations": activation_bytes(recipe, shape, tokens, compute),
        **({"process": PROCESS} if device == "cpu" else {}),
        "logits": logit_bytes(recipe, shape, targets, compute, device),
    }


def logit_bytes(recipe: Recipe, shape: Shape, targets: int, compute: str, device: str) -> int:
    """The trained tokens' logits in the compute type and in fp32, and their gradient; where the loss goes chunk by
    chunk, one chunk's, which its gradient takes the place of, and room for the output layer's. Of judged answers they
    are kept in the compute type as long as they are few."""
    if recipe.method.kind == "reward":
        return 0
    width = WIDTH[compute]
    if choose(recipe, Here(device, compute))["cross_entropy"].name == "off":
        return targets * shape.vocabulary * (width + 2 * 4)
    rows = min(targets, chunk_rows(shape.vocabulary, device))
    twice = 0 if compute == "fp32" else 1
    kept = is_judging(recipe) and keeps_logits(targets, shape.vocabulary, device)
    held = shape.vocabulary * ((targets if kept else rows) * width + rows * 4 * twice)
    return held + shape.vocabulary * shape.hidden * width * twice
