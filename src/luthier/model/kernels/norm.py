"""RMSNorm in one function (Zhang & Sennrich 2019): y = w x / sqrt(mean(x^2) + eps).

Written out, as models have it, it makes six tensors of the hidden states' size and keeps three of them for the backward
pass; here it keeps its input alone, and one number a token.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch
from torch import nn

PROBES = ((torch.float32, 1e-5), (torch.bfloat16, 2e-2))
"""Types in which a norm is compared with its own words before it is replaced, and how far it may be away."""


def fuse_norms(model: nn.Module) -> int:
    """Replace what every RMSNorm of a model computes with; returns how many there are. Its parameters stay.

    Under autocast a norm that feeds linear layers alone gives their type, as they would cast it to, each for itself.
    """
    found = 0
    narrow = {id(norm) for module in model.modules() for norm in _before_layers(module)}
    for module in model.modules():
        form = form_of(module)
        if form is not None:
            module.forward = partial(_norm, module, *form, id(module) in narrow)
            found += 1
    return found


def _before_layers(layer: nn.Module) -> list[nn.Module]:
    """The norms of a decoder layer of Llama's kind: one before attention, one before the MLP and no other.

    Where there are more, some are of what goes into the residual stream, which stays in fp32.
    """
    norms = {name: child for name, child in layer.named_children() if type(child).__name__.endswith("RMSNorm")}
    attention, mlp = getattr(layer, "self_attn", None), getattr(layer, "mlp", None)
    simple = hasattr(attention, "o_proj") and (hasattr(mlp, "up_proj") or hasattr(mlp, "gate_up_proj"))
    return list(norms.values()) if simple and norms.keys() == {"input_layernorm", "post_attention_layernorm"} else []


def form_of(module: Any) -> tuple[float, float] | None:
    """(eps, offset) of an RMSNorm ``(offset + w) * x``: offset is 0 in Llama's form and 1 in Gemma's.

    A module is one when its class is called so and its outputs, in two types, are those of a form; else None.
    """
    weight, eps = getattr(module, "weight", None), getattr(module, "variance_epsilon", getattr(module, "eps", None))
    named = type(module).__name__.endswith("RMSNorm") and len(inspect.signature(module.forward).parameters) == 1
    if not named or not isinstance(eps, float) or not isinstance(weight, nn.Parameter) or weight.ndim != 1:
        return None
    if weight.is_meta:
        return None
    probe = torch.linspace(-1, 2, 2 * len(weight), device=weight.device).view(2, -1).sin()
    for offset in (0.0, 1.0):
        with torch.no_grad():
            pairs = [
                (module(probe.to(kind)), _norm(module, eps, offset, False, probe.to(kind)), far) for kind, far in PROBES
            ]
        if all(one.dtype == two.dtype and torch.allclose(one, two, rtol=far, atol=far) for one, two, far in pairs):
            return eps, offset
    return None


def _norm(module: Any, eps: float, offset: float, narrow: bool, hidden: torch.Tensor) -> torch.Tensor:
    device = hidden.device.type
    kind = torch.get_autocast_dtype(device) if narrow and torch.is_autocast_enabled(device) else None
    output: torch.Tensor = _RmsNorm.apply(hidden, module.weight, eps, offset, kind)  # type: ignore[no-untyped-call]
    return output


class _RmsNorm(torch.autograd.Function):
    """hidden [..., size], weight [size] -> [..., size] of ``kind``, unset: as models have it; all is computed in fp32.

    With x^ = x r and r = 1 / sqrt(mean(x^2) + eps): dw = sum(g x^), dx = r (g w - x^ mean(g w x^)).
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, eps: float, offset: float, kind: torch.dtype | None
    ) -> torch.Tensor:
        wide = hidden.float()
        size = hidden.shape[-1]
        scale = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(size).add_(eps).rsqrt_()
        ctx.save_for_backward(hidden, weight, scale)
        ctx.offset = offset
        normal: torch.Tensor = wide * scale
        if kind is not None:
            return normal.mul_(weight.float() + offset if offset else weight).to(kind)
        if offset:
            return normal.mul_(weight.float() + offset).to(hidden.dtype)
        return normal.mul_(weight) if hidden.dtype is torch.float32 else weight * normal.to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, scale = ctx.saved_tensors
        with torch.autocast(hidden.device.type, enabled=False):
            wide, normal = gradient.float(), hidden.float() * scale
            factor = weight.float() + ctx.offset
            product = wide * normal
            mean = (product.flatten(0, -2) @ factor).view(scale.shape).div_(-hidden.shape[-1])
            back = (wide * factor).addcmul_(normal, mean).mul_(scale).to(hidden.dtype)
            of_weight = product.flatten(0, -2).sum(0).to(weight.dtype) if ctx.needs_input_grad[1] else None
        return back, of_weight, None, None, None
