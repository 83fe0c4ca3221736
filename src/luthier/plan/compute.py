"""Floating-point operations of a run, and the time they take.

A matrix product costs 2 operations per weight and token forward, and as much again for each of two gradients: that of
its input, and that of its weight where it trains (Kaplan et al. 2020, section 2.1). So a weight that trains costs 6, a
frozen one above anything that trains 4. Attention over a causal context of c tokens adds 2 x 2 x c / 2 x heads x head
size forward, and twice that backward, whatever trains.
"""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

from luthier.data.cache import content_key
from luthier.environment import cache_folder, cores, processor_facts
from luthier.model.shape import Shape
from luthier.plan.adapted import adapted_layers
from luthier.plan.parameters import lora_matrices, trains
from luthier.plan.preferences import reference_of
from luthier.recipe import Recipe

ASSUMED = {"cpu": 3e10, "cuda": 1e14}
"""Useful operations per second per device (per core on a CPU) before anything has been measured here."""


Place = tuple[int, int]
"""Where something is on the way through the model: its layer (-1 below all of them), and its stage in the layer."""

STAGES = (
    ("input_layernorm", "ln_1"),
    ("q_proj", "k_proj", "v_proj", "query_key_value", "qkv_proj", "c_attn"),
    ("o_proj", "attention.dense", "self_attn.dense", "attn.c_proj"),
    ("post_attention_layernorm", "ln_2"),
    ("gate_proj", "up_proj", "gate_up_proj", "dense_h_to_4h", "c_fc"),
)
"""Parts of the names of what a layer computes, in its order; its last products come after all of them."""

ATTENTION = 1
"""The stage behind which attention is computed."""


def operations(recipe: Recipe, shape: Shape, tokens: int, targets: int, squared: float, documents: int = 0) -> float:
    """Operations of one pass over data with ``tokens`` tokens, ``targets`` trained ones, and ``squared`` = the sum of
    the documents' squared lengths."""
    adapter, again = recipe.adapter, 2.0 if recipe.runtime.gradient_checkpointing else 0.0
    if adapter.kind == "prompt":
        tokens += adapter.virtual_tokens * documents
    lowest, products, total = _lowest(recipe, shape), shape.products(), 0.0
    for name, weights in products.items():
        below = 2.0 if lowest < _place(name) else 0.0
        own = 2.0 if trains(recipe, name, shape) else 0.0
        total += (2.0 + again + below + own) * weights * tokens
    contexts = squared + (2.0 * adapter.virtual_tokens * tokens if adapter.kind == "prefix" else 0.0)
    backward = sum(lowest <= (number, ATTENTION) for number in range(shape.layers))
    total += contexts * shape.heads * shape.head_size * ((2.0 + again) * shape.layers + 4.0 * backward)
    if adapter.kind == "lora":
        total += (6.0 + again) * lora_matrices(recipe, shape) * tokens
    output = "lm_head.weight" if "lm_head.weight" in shape.parameters else "model.embed_tokens.weight"
    ends = 2.0 + 2.0 * (lowest < (shape.layers, 1)) + 2.0 * trains(recipe, output, shape)
    if reference_of(recipe):
        total += 2.0 * (sum(products.values()) * tokens + contexts * shape.heads * shape.head_size * shape.layers)
        ends += 2.0
    return total + ends * shape.vocabulary * shape.hidden * targets


def _lowest(recipe: Recipe, shape: Shape) -> Place:
    """The lowest place that trains: gradients are not taken below it. Recomputed layers ask for them down to the
    embeddings."""
    kind = recipe.adapter.kind
    if recipe.runtime.gradient_checkpointing or kind == "prompt":
        return (-1, 0)
    trained = [_place(name, shape.layers) for name in shape.parameters if trains(recipe, name, shape)]
    trained += [(0, ATTENTION)] if kind == "prefix" else []
    trained += [_place(name) for name in adapted_layers(recipe.adapter, shape)] if kind in ("lora", "ia3") else []
    return min(trained, default=(shape.layers, 1))


def _place(name: str, layers: int = 0) -> Place:
    """The place of a parameter; the final norm and the output layer come after all layers."""
    found = re.search(r"\.(\d+)\.", name)
    if found is None:
        return (layers, int("norm" not in name)) if "norm" in name or "head" in name else (-1, 0)
    return int(found[1]), next((at for at, parts in enumerate(STAGES) if any(part in name for part in parts)), 5)


def speed(device: str, compute: str) -> tuple[float, bool]:
    """(useful operations per second of this machine, whether they were measured by an earlier run here)."""
    try:
        measured = json.loads(_speed_file(device, compute).read_text(encoding="utf-8"))
        return float(measured["operations_per_second"]), True
    except (OSError, ValueError, KeyError):
        return ASSUMED[device] * (cores() if device == "cpu" else 1), False


def remember_speed(device: str, compute: str, operations_per_second: float) -> None:
    """Keep what a run measured, for later plans; a cache that cannot be written is no error."""
    path = _speed_file(device, compute)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"operations_per_second": operations_per_second}), encoding="utf-8")
    except OSError:
        return


def _speed_file(device: str, compute: str) -> Path:
    key = content_key(
        [], [platform.machine(), platform.processor()], {"device": device, "compute": compute, "cores": cores()}
    )
    return cache_folder() / "speed" / f"{key[:16]}.json"


def device_here(wanted: str) -> str:
    """The device that runtime.device leads to, told without torch from the driver's own files."""
    if wanted != "auto":
        return wanted
    return "cuda" if Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists() else "cpu"


def compute_here(wanted: str, device: str) -> str:
    """The compute type that precision.compute leads to, told without torch.

    A CPU computes in bf16 where it has instructions for it, else in fp32, whatever 16-bit type is asked for.
    """
    if device == "cuda":
        return "bf16" if wanted == "auto" else wanted
    if wanted == "fp32":
        return wanted
    flags = processor_facts()
    return "bf16" if "avx512_bf16" in flags or "amx_tile" in flags else "fp32"
