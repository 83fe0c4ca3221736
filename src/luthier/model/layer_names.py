"""Names in an adapter's settings that no layer of the model bears. No torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from luthier.errors import Fault, nearest
from luthier.model.last_layers import OUTPUTS
from luthier.model.patterns import first_of
from luthier.recipe.adapter import Adapter

COMMON = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Names that lists of targets for many architectures carry, so that not every model has all of them."""

FUSED = {"gate_up_proj": ("gate_proj", "up_proj", "w1", "w3"), "down_proj": ("w2",)}
"""Weights of a layer of experts in one tensor -> the names that checkpoints, and PEFT, have for their parts."""

MAMBA = ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h")
WEIGHT_ALONE = ("out_proj", "conv1d")
"""Layers of a Mamba whose weights its kernels read past the module, so that LoRA on them would do nothing; PEFT refuses
them."""

EXPERTS = "{} takes its start out of matrices, and the experts of this model lie in one tensor"
NO_EXPERTS = "set adapter.init: default, or name layers of attention alone in adapter.targets"


def misnamed(adapter: Adapter, modules: Collection[str], adapted: Collection[str] | None = None) -> Iterator[Fault]:
    """Every name and pattern that the recipe's user wrote and that matches nothing, as PEFT matches them.

    Args:
        modules: the model's modules by their full names.
        adapted: those that the adapter sits on, where that is known; else what its targets name.
    """
    if adapter.kind not in ("lora", "ia3"):
        return
    known = [*modules, *(adapted or ())]
    unknown = "no layer of the model is called {!r}"
    lacking = [name for name in _named(adapter) if not any(_is(name, module) for module in known)]
    if isinstance(adapter.targets, str):
        yield from _pattern(adapter.targets, known)
    for name in lacking:
        if name not in COMMON or len(lacking) == len(adapter.targets):
            yield Fault(unknown.format(name), "adapter.targets", _remedy(name, modules))
    for name in adapter.modules_to_save:
        if not any(module.endswith(name) for module in modules):
            yield Fault(unknown.format(name), "adapter.modules_to_save", _remedy(name, modules))
    layers = [name for name in modules if targeted(adapter.targets, name)] if adapted is None else adapted
    layers = [name for name in layers if not _is_part(name)]
    for key in ("rank_pattern", "alpha_pattern") if adapter.kind == "lora" and layers else ():
        for pattern in getattr(adapter, key):
            if not any(first_of([pattern], layer) is not None for layer in layers):
                reason = f"{pattern!r} ends the name of no layer that the adapter sits on"
                yield Fault(reason, f"adapter.{key}", _remedy(pattern, layers))


def beside_rows(adapter: Adapter, embedding: str, output: str, *, tied: bool) -> Iterator[Fault]:
    """What PEFT cannot put on the layers of which rows of new tokens train.

    Args:
        embedding: the full name of the input embedding.
        output: that of the output layer.
        tied: whether both are one weight.
    """
    saved = [end.rpartition(".")[2] in adapter.modules_to_save for end in (embedding, output)]
    if adapter.kind not in ("lora", "ia3") or (saved[0] and (tied or saved[1])):
        return
    first, last = embedding.rpartition(".")[2], output.rpartition(".")[2]
    if tied and saved[1]:
        yield Fault(
            f"{last} is the same weight as {first}, of which rows of new tokens train",
            "adapter.modules_to_save",
            f"name {first} in place of {last}, which trains both whole",
        )
    targets = adapter.targets
    for whole, end in zip(saved, (embedding, output), strict=True):
        if not whole and not (isinstance(targets, str) and is_all(targets)) and targeted(targets, end):
            name = end.rpartition(".")[2]
            yield Fault(
                f"rows of new tokens train in {name}, which cannot have an adapter as well",
                "adapter.targets",
                f"take {name} away from it, or name it in adapter.modules_to_save, which trains it whole",
            )


def left_out(adapter: Adapter, architecture: str) -> tuple[str, ...]:
    """Layers that all-linear does not mean in an architecture."""
    whole = isinstance(adapter.targets, str) and is_all(adapter.targets)
    return WEIGHT_ALONE if architecture in MAMBA and adapter.kind == "lora" and whole else ()


def bypassed(adapter: Adapter, architecture: str, modules: Collection[str]) -> Iterator[Fault]:
    """Targets that LoRA cannot adapt in an architecture."""
    if architecture not in MAMBA or adapter.kind != "lora" or left_out(adapter, architecture):
        return
    leaves = {module.rpartition(".")[2] for module in modules if targeted(adapter.targets, module)}
    for name in WEIGHT_ALONE:
        if name in leaves:
            reason = f"the kernels of {architecture} read the weight of {name} past any adapter"
            yield Fault(reason, "adapter.targets", f"take {name} away, or set all-linear, which leaves it out")


def absent(adapter: Adapter, modules: Collection[str]) -> list[str]:
    """Targets of ``COMMON`` that a model lacks, which are passed over."""
    return [name for name in _named(adapter) if name in COMMON and not any(_is(name, module) for module in modules)]


def with_parts(parameters: Iterable[str]) -> list[str]:
    """Names of fused weights, and of each part that a checkpoint has in their place."""
    found = []
    for name in parameters:
        parent, _, leaf = name.rpartition(".")
        found += [name, *(f"{parent}.{part}" for part in FUSED.get(leaf, ()))]
    return found


def _is_part(name: str) -> bool:
    """Whether a name is that of a part of experts' tensors, which targets may mean and patterns of ranks do not."""
    parent, _, leaf = name.rpartition(".")
    return parent.endswith(".experts") and leaf not in FUSED


def _named(adapter: Adapter) -> tuple[str, ...]:
    return () if isinstance(adapter.targets, str) else adapter.targets


def _pattern(pattern: str, modules: Collection[str]) -> Iterator[Fault]:
    if not is_all(pattern) and not any(re.fullmatch(pattern, module) for module in modules):
        reason = f"the expression {pattern!r} is no layer's whole name"
        yield Fault(reason, "adapter.targets", f"write a list of names, or .*{pattern}")


def targeted(targets: tuple[str, ...] | str, module: str) -> bool:
    """Whether an adapter's targets mean a layer, by its full name."""
    if isinstance(targets, str):
        return is_all(targets) or bool(re.fullmatch(targets, module))
    return any(_is(name, module) for name in targets)


def is_all(targets: str) -> bool:
    """Whether targets mean every linear layer."""
    return targets.lower() == "all-linear"


def _is(name: str, module: str) -> bool:
    return module == name or module.endswith(f".{name}")


def _remedy(name: str, modules: Collection[str]) -> str:
    leaves = sorted({leaf for module in modules if (leaf := module.rpartition(".")[2]) and not leaf.isdigit()})
    leaf = name.rpartition(".")[2]
    near = OUTPUTS[0] if leaf in OUTPUTS and OUTPUTS[0] in leaves else nearest(leaf, leaves)
    return f"did you mean {near}?" if near and near != leaf else f"use some of: {', '.join(leaves)}"
