"""LoRA's layer in one function (Hu et al. 2021): y = x W^T + b + s (x A^T) B^T, with W frozen.

PEFT casts x to the adapter's own type, which is fp32 beside a model that computes in bf16, and makes each step of the
sum a tensor. Here everything runs in the compute type, sums go into the products' own results, and x and x A^T are all
that is kept.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import nn
from torch.nn.functional import linear


def fuse_lora(model: nn.Module) -> int:
    """Let every plain LoRA layer of a model compute so; returns how many do. Parameters stay where they are.

    DoRA and PEFT's other variants, quantised base layers and layers with several adapters are left alone.
    """
    found = 0
    for module in model.modules():
        if type(module) is Linear and _is_plain(module):
            module.forward = partial(_forward, module, module.forward)
            found += 1
    return found


def _is_plain(module: Linear) -> bool:
    pairs = [*module.lora_A.values(), *module.lora_B.values()]
    plain = len(pairs) == 2 and all(type(one) is nn.Linear and one.bias is None for one in pairs)
    return plain and type(module.base_layer) is nn.Linear and not module.lora_variant


def _forward(module: Any, own: Any, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """[..., in] -> [..., out]; PEFT's own way where the adapter is off, merged or asked for something special."""
    name = next(iter(module.lora_A))
    down, up, base = module.lora_A[name].weight, module.lora_B[name].weight, module.base_layer
    device = hidden.device.type
    cast = torch.is_autocast_enabled(device)
    kinds = {hidden.dtype, base.weight.dtype, down.dtype, up.dtype}
    special = args or kwargs or module.disable_adapters or module.merged or module.active_adapters != [name]
    if special or base.weight.requires_grad or (len(kinds) > 1 and not cast):
        result: torch.Tensor = own(hidden, *args, **kwargs)
        return result
    kind = torch.get_autocast_dtype(device) if cast else hidden.dtype
    dropout = module.lora_dropout[name]
    given = hidden.to(kind)
    dropped = None if type(dropout) is nn.Identity or not module.training else dropout(given)
    output: torch.Tensor = _Lora.apply(  # type: ignore[no-untyped-call]
        given, dropped, base.weight, base.bias, down, up, float(module.scaling[name])
    )
    return output


class _Lora(torch.autograd.Function):
    """x [..., in], x after dropout or None, W [out, in], b [out] or None, A [r, in], B [out, r] -> [..., out].

    With g the gradient of the output: dB = s g^T x A^T, dA = s (g B)^T x, dx = g W + s g B A; after dropout the last
    term is that of its own input.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        dropped: torch.Tensor | None,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        kind = hidden.dtype
        source = hidden if dropped is None else dropped
        with torch.autocast(hidden.device.type, enabled=False):
            inner = torch.mm(source.flatten(0, -2), down.to(kind).t()).mul_(scale)
            output = linear(hidden, weight.to(kind), None if bias is None else bias.to(kind))
            output.view(-1, len(weight)).addmm_(inner, up.to(kind).t())
        ctx.save_for_backward(source, inner, weight, down, up)
        ctx.scale, ctx.dropped, ctx.bias = scale, dropped is not None, None if bias is None else bias.dtype
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        source, inner, weight, down, up = ctx.saved_tensors
        kind = source.dtype
        flat = gradient.flatten(0, -2)
        with torch.autocast(gradient.device.type, enabled=False):
            narrow = down.to(kind)
            of_inner = torch.mm(flat, up.to(kind)).mul_(ctx.scale)
            of_up = torch.mm(inner.t(), flat).to(up.dtype).t() if ctx.needs_input_grad[5] else None
            of_down = torch.mm(of_inner.t(), source.flatten(0, -2)).to(down.dtype) if ctx.needs_input_grad[4] else None
            of_bias = flat.sum(0).to(ctx.bias) if ctx.needs_input_grad[3] else None
            back = torch.mm(flat, weight.to(kind)) if ctx.needs_input_grad[0] else None
            other = None
            if ctx.dropped:
                other = torch.mm(of_inner, narrow).view_as(source) if ctx.needs_input_grad[1] else None
            elif back is not None:
                back.addmm_(of_inner, narrow)
        return None if back is None else back.view_as(source), other, None, of_bias, of_down, of_up, None
