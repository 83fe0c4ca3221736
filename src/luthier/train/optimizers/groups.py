"""Trainable parameters in groups that share a decay and a multiple of the learning rate."""

from __future__ import annotations

from typing import Any

import torch

from luthier.recipe.optimizer import Optimizer
from luthier.recipe.optimizers import GO_BY_PLACE

Groups = list[dict[str, Any]]
"""Each with ``params``, ``names`` (state is saved by name), ``weight_decay``, ``ratio`` (its rate over the recipe's)
and ``hidden`` (weights of two dimensions that are neither embeddings nor the output layer, in groups of their own
unless steps go by a weight's place in its group)."""


def parameter_groups(model: torch.nn.Module, optimizer: Optimizer) -> Groups:
    """The groups of a model; biases and norms do not decay: parameters of one dimension, and those of more that are
    biases (of experts in one tensor) or stand in a norm (of each head), as they are named.

    ``lora_plus`` multiplies the rate of LoRA's B matrices (Hayou et al. 2024, section 4), and of whatever has one
    dimension, as PEFT's optimiser does; ``embedding_lr`` is the rate of everything inside the embeddings and the output
    layer, and wins over it, as ``lora_plus_embedding_lr`` does over both, of LoRA's matrices in embeddings.
    """
    ends, norms = _ends(model), _norms(model)
    groups: dict[tuple[bool, float, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        end, matrix = id(parameter) in ends, name.endswith("weight") and id(parameter) not in norms
        decays = parameter.ndim > 1 and id(parameter) not in norms and not name.endswith("bias")
        ratio, inside = 1.0, "lora_embedding_" in name
        if optimizer.lora_plus is not None and inside and optimizer.lora_plus_embedding_lr is not None:
            ratio = optimizer.lora_plus_embedding_lr / optimizer.lr
        elif end and optimizer.embedding_lr is not None:
            ratio = optimizer.embedding_lr / optimizer.lr
        elif optimizer.lora_plus is not None and _is_fast(name, parameter):
            ratio = optimizer.lora_plus
        hidden = matrix and parameter.ndim == 2 and not end and optimizer.kind not in GO_BY_PLACE
        decay = optimizer.weight_decay if decays else 0.0
        empty = {"params": [], "names": [], "weight_decay": decay, "ratio": ratio, "hidden": hidden}
        group = groups.setdefault((not decays, ratio, not hidden), empty)
        group["params"].append(parameter)
        group["names"].append(name)
    return [groups[key] for key in sorted(groups)]


def _is_fast(name: str, parameter: torch.nn.Parameter) -> bool:
    return "lora_B" in name or "lora_embedding_B" in name or parameter.ndim == 1


def _ends(model: torch.nn.Module) -> set[int]:
    """Identities of the parameters inside the model's embeddings and its output layer."""
    ends: list[torch.nn.Module] = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    for get in ("get_input_embeddings", "get_output_embeddings"):
        end = getattr(model, get, lambda: None)()
        ends += [end] if isinstance(end, torch.nn.Module) else []
    return {id(parameter) for end in ends for parameter in end.parameters()} | {
        id(parameter) for name, parameter in model.named_parameters() if "lora_embedding_" in name
    }


def _norms(model: torch.nn.Module) -> set[int]:
    """Identities of the parameters of norms, which their classes' names tell."""
    norms = [module for module in model.modules() if "Norm" in type(module).__name__]
    return {id(parameter) for norm in norms for parameter in norm.parameters(recurse=False)}


def follow_rates(optimizer: torch.optim.Optimizer) -> None:
    """Let each group step at its multiple of the rate that it is given; in between, all groups have the given rate."""
    if all(group["ratio"] == 1.0 for group in optimizer.param_groups):
        return
    given: list[Any] = []

    def before(*_: Any) -> None:
        given[:] = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * group["ratio"]

    def after(*_: Any) -> None:
        for group, rate in zip(optimizer.param_groups, given, strict=True):
            group["lr"] = rate

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
