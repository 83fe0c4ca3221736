"""Liger's Triton kernels on one model: its own way of patching changes classes for the whole process."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from luthier.model.kernels.norm import form_of

GATED = frozenset({"LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP"})
"""MLPs that are ``down(act(gate(x)) * up(x))`` and nothing else."""


def use_liger(model: nn.Module) -> int:
    """Let a model's norms and SiLU gates run in Liger's kernels, module by module; returns how many do. CUDA only."""
    norm = import_module("liger_kernel.ops.rms_norm").LigerRMSNormFunction
    gate = import_module("liger_kernel.ops.swiglu").LigerSiLUMulFunction
    found = 0
    for module in model.modules():
        form = form_of(module)
        if form is not None:
            module.forward = partial(_norm, norm, module, *form)
            found += 1
        elif type(module).__name__ in GATED and "SiLU" in type(module.act_fn).__name__:
            module.forward = partial(_gated, gate, module)
            found += 1
    return found


def _norm(function: Any, module: Any, eps: float, offset: float, hidden: torch.Tensor) -> torch.Tensor:
    """[..., size] -> [..., size], in the type that the model's own norm gives."""
    output: torch.Tensor = function.apply(hidden, module.weight, eps, offset, "gemma" if offset else "llama", False)
    return output if offset else output.to(torch.promote_types(hidden.dtype, module.weight.dtype))


def _gated(function: Any, module: Any, hidden: torch.Tensor) -> torch.Tensor:
    """[..., size] -> [..., size] through the MLP."""
    output: torch.Tensor = module.down_proj(function.apply(module.gate_proj(hidden), module.up_proj(hidden)))
    return output
