"""Products of linear layers in fp32 through oneDNN, which PyTorch takes for 16-bit types alone.

MKL, which it takes in fp32, has its best code for Intel's processors; on AMD's, oneDNN is as fast or faster where a
product has no more outputs than inputs, and slower where it has more. Both compute in fp32. Gradients of weights, which
sum over all tokens, stay with MKL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from luthier.model.precision import compute_type

LEAST_ROWS = 64
"""Rows below which a product goes PyTorch's way: oneDNN prepares itself for every new number of them, which takes a
millisecond."""


@dataclass(frozen=True, slots=True)
class Products:
    """x [..., in], W [out, in], b [out] or None -> x W^T + b; and x W^T added to a sum [..., out] in its place."""

    linear: Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
    added: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def _suits(given: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether oneDNN has a product x [..., in] W [out, in]^T."""
    outputs, inputs = weight.shape
    many = given.numel() >= LEAST_ROWS * inputs
    return many and outputs <= inputs and given.dtype == weight.dtype == torch.float32


def _onednn(given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    if not _suits(given, weight):
        return linear(given, weight, bias)
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(given, weight, bias, "none", [], "")
    return product


def _onednn_added(total: torch.Tensor, given: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not _suits(given, weight):
        return PLAIN.added(total, given, weight)
    return total.add_(_onednn(given, weight, None))


PLAIN = Products(linear, lambda total, given, weight: total.addmm_(given, weight.t()))
ONEDNN = Products(_onednn, _onednn_added)


def use_onednn(model: nn.Module) -> int:
    """Let every plain linear layer of a model multiply so; returns how many do. Parameters stay where they are."""
    found = 0
    for module in model.modules():
        if type(module) is nn.Linear and "forward" not in vars(module):
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]
            found += 1
    return found


def _forward(layer: nn.Linear, given: torch.Tensor) -> torch.Tensor:
    if compute_type(given) != torch.float32 or layer.weight.device.type != "cpu":
        return linear(given, layer.weight, layer.bias)
    output: torch.Tensor = _Linear.apply(given, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return output


class _Linear(torch.autograd.Function):
    """x [..., in], W [out, in], b [out] or None -> [..., out]; with g its gradient, dx = g W, dW = g^T x."""

    @staticmethod
    def forward(ctx: Any, given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(given if weight.requires_grad else None, weight)
        return _onednn(given, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        given, weight = ctx.saved_tensors
        of_given, of_weight, of_bias = ctx.needs_input_grad
        flat = gradient.flatten(0, -2)
        return (
            _onednn(gradient, weight.t(), None) if of_given else None,
            flat.t() @ given.flatten(0, -2) if of_weight else None,
            flat.sum(0) if of_bias else None,
        )
