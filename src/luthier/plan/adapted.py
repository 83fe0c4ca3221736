"""Which of a model's weights an adapter sits on, as PEFT decides it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from luthier.model.last_layers import OUTPUTS
from luthier.model.layer_names import is_all, left_out, targeted
from luthier.model.patterns import first_of
from luthier.model.shape import Shape
from luthier.recipe.adapter import Adapter

Layers = dict[str, tuple[int, int]]
"""Layer or parameter -> (out, in); of experts all together."""

ROUTER = "gate.weight"
MIXTRAL = {"gate": ROUTER, "w1": "gate_up_proj", "w3": "gate_up_proj", "w2": "down_proj"}
QWEN = {"gate": ROUTER, "gate_proj": "gate_up_proj", "up_proj": "gate_up_proj", "down_proj": "down_proj"}
PARTS = {
    **dict.fromkeys(("mixtral", "minimax", "minimax_m2"), MIXTRAL),
    **dict.fromkeys(("afmoe", "deepseek_v2", "deepseek_v3", "dots1", "ernie4_5_moe", "exaone_moe", "flex_olmo"), QWEN),
    **dict.fromkeys(("glm4_moe", "glm4_moe_lite", "hunyuan_v1_moe", "olmoe", "qwen3_moe", "qwen3_next"), QWEN),
}
"""Architecture -> the names of layers that LoRA's targets mean, which are parameters now; PEFT (0.21) puts LoRA on
these."""

TURNED = ("gpt2", "openai-gpt")
"""Architectures whose linear layers store their weights as [in, out]."""


def adapted_layers(adapter: Adapter, shape: Shape) -> Layers:
    """The layers, and parameters, that get a LoRA or (IA)3 adapter."""
    parts = PARTS.get(shape.architecture, {}) if adapter.kind == "lora" else {}
    asked = adapter.targets
    whole = isinstance(asked, str) and is_all(asked)
    targets = _leaves(asked, parts, shape) if parts and isinstance(asked, str) else asked
    new = {parts[part] for target in targets if (part := _part(target, parts))} if parts else set[str]()
    left = left_out(adapter, shape.architecture)
    linear = {name: size for name, size in shape.linear().items() if name.rpartition(".")[2] not in left}
    if shape.architecture in TURNED:
        linear = {name: (columns, rows) for name, (rows, columns) in linear.items()}
    layers = linear if whole else linear | _ends(adapter, shape)
    if not isinstance(targets, str):
        targets = tuple(target for target in targets if not _part(target, parts))
    found = {name: size for name, size in layers.items() if targeted(targets, name)}
    return found | {name: size for name, size in _bare(shape).items() if name.endswith(tuple(f".{one}" for one in new))}


def halves(adapter: Adapter, shape: Shape) -> tuple[str, str] | None:
    """(what the targets name, what they lack) of two matrices that lie in one and take one adapter."""
    parts = PARTS.get(shape.architecture, {})
    if adapter.kind != "lora" or not parts or not shape.experts():
        return None
    targets = adapter.targets
    targets = _leaves(targets, parts, shape) if isinstance(targets, str) else targets
    named = {_part(target, parts) for target in targets}
    first, second = (part for part, name in parts.items() if name == "gate_up_proj")
    if (first in named) == (second in named):
        return None
    return (first, second) if first in named else (second, first)


def on_parameters(adapter: Adapter, shape: Shape) -> bool:
    """Whether LoRA sits on bare parameters: experts in one tensor, or what shares tokens out among them."""
    return adapter.kind == "lora" and not _bare(shape).keys().isdisjoint(adapted_layers(adapter, shape))


def rank_of(adapter: Adapter, layer: str) -> int:
    """The layer's own rank: the first pattern that ends its name, as PEFT matches; for two matrices of each expert in
    one, as much as both would have."""
    usual = 2 * adapter.rank if layer.endswith(".experts.gate_up_proj") else adapter.rank
    first = first_of(adapter.rank_pattern, layer)
    return usual if first is None else adapter.rank_pattern[first]


def _ends(adapter: Adapter, shape: Shape) -> Layers:
    """Embeddings and the output layer, on which names may put an adapter. LoRA's sizes of an embedding are those of the
    layer that it would be, from ids to features; (IA)3 has none for it."""
    found: Layers = {}
    for name, (rows, columns) in shape.ends().items():
        if name.endswith(OUTPUTS):
            found[name] = (rows, columns)
        elif adapter.kind == "lora":
            found[name] = (columns, rows)
    return found


def _bare(shape: Shape) -> Layers:
    experts = {name: (count * rows, count * columns) for name, (count, rows, columns) in shape.experts().items()}
    return experts | shape.routers()


def _part(target: str, parts: dict[str, str]) -> str:
    """The part that a target names; an empty string where it is another layer."""
    return next((part for part in parts if target == part or target.endswith(f".{part}")), "")


def _leaves(pattern: str, parts: dict[str, str], shape: Shape) -> tuple[str, ...]:
    """The names that PEFT makes of an expression, or of all-linear, for models with such experts: those of the layers
    that it matches, without their numbers, so that other layers of these names match as well."""
    if is_all(pattern):
        return tuple(dict.fromkeys([*(name.rpartition(".")[2] for name in shape.linear()), *parts]))
    matched = {name.rpartition(".")[2] for name in (*shape.modules(), *shape.parameters) if re.fullmatch(pattern, name)}
    return tuple(matched | set(_inside(pattern, parts, shape)))


def _inside(pattern: str, parts: dict[str, str], shape: Shape) -> Iterator[str]:
    """The parts of experts' matrices that an expression would match where they lay by themselves."""
    for part, name in parts.items():
        layers = (one.rpartition(".")[0] for one in shape.parameters if one.rpartition(".")[2] == name)
        if any(re.fullmatch(pattern, f"{layer}.{part}") for layer in layers):
            yield part
