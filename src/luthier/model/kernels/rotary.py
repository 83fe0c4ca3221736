"""Rotary positions in one function (Su et al. 2021): x1 cos - x2 sin, x2 cos + x1 sin of the two halves of each head.

Written out, as models have it, it makes five tensors of the heads' size forward and more backward, and under autocast
hands on fp32. Here the result has its input's type, is computed in fp32, and nothing but the angles is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

NAME = "apply_rotary_pos_emb"
"""What transformers' models call the function that turns queries and keys."""


def fuse_rotary(model: nn.Module) -> int:
    """Let every attention layer turn its queries and keys by this function; returns how many do.

    A layer is one when its forward pass calls a function of the known name, whose results and whose gradients are those
    of Llama's form. The layer gets that forward pass for itself, with the function exchanged: its class stays.
    """
    found = 0
    known: dict[Any, bool] = {}
    for module in model.modules():
        written = unwrap(type(module).forward)  # transformers 5.24 renames arguments around it
        if not isinstance(written, FunctionType) or NAME not in written.__code__.co_names or "forward" in vars(module):
            continue
        own = written.__globals__.get(NAME)
        if own is None or written.__closure__:
            continue
        if own not in known:
            known[own] = _is_llamas(own)
        if known[own]:
            module.forward = MethodType(_with(written, own), module)
            found += 1
    return found


def _with(written: FunctionType, own: Any) -> FunctionType:
    """The same forward pass, which turns by ours."""

    def turned(
        query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if cos.ndim != 3 or cos.shape[-1] != query.shape[-1]:
            result: tuple[torch.Tensor, torch.Tensor] = own(query, key, cos, sin, unsqueeze_dim)
            return result
        angles = cos.float().unsqueeze(unsqueeze_dim), sin.float().unsqueeze(unsqueeze_dim)
        return _Turned.apply(query, *angles), _Turned.apply(key, *angles)  # type: ignore[no-untyped-call]

    globals_ = {**written.__globals__, NAME: turned}
    copy = FunctionType(written.__code__, globals_, written.__name__, written.__defaults__)
    copy.__kwdefaults__ = written.__kwdefaults__
    return copy


def _is_llamas(function: Callable[..., Any]) -> bool:
    """Whether a function turns as Llama's does, told by what it makes of known numbers."""
    chance = torch.Generator().manual_seed(0)
    query, key, cos, sin = (torch.randn(1, heads, 5, 8, generator=chance) for heads in (2, 1, 1, 1))
    try:
        theirs = function(query, key, cos[:, 0], sin[:, 0])
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False
    ours = tuple(_turn(one, cos, sin, -1.0) for one in (query, key))
    return len(theirs) == 2 and all(
        one.shape == two.shape and torch.allclose(one, two, rtol=1e-5, atol=1e-5)
        for one, two in zip(theirs, ours, strict=True)
    )


def _turn(
    given: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, sign: float, strides: tuple[int, ...] | None = None
) -> torch.Tensor:
    """given [..., D], fp32 angles that broadcast to it -> [..., D]: (x1 c1 + sign x2 s1, x2 c2 - sign x1 s2).

    ``strides`` are those of the result, unset: of contiguous memory.
    """
    wide = given.float()
    first, second = wide.chunk(2, -1)
    low, high = sin.chunk(2, -1)
    turned = wide * cos
    upper, lower = turned.chunk(2, -1)
    upper.addcmul_(second, low, value=sign)
    lower.addcmul_(first, high, value=-sign)
    if turned.dtype is given.dtype:
        return turned
    output = given.new_empty(given.shape) if strides is None else given.new_empty_strided(given.shape, strides)
    return output.copy_(turned)


class _Turned(torch.autograd.Function):
    """given [..., D], cos and sin [..., D] in fp32 -> [..., D]; backward turns the other way.

    Attention wants each head's numbers together, the layers before it each token's: the change of type sees to both.
    """

    @staticmethod
    def forward(ctx: Any, given: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.strides = given.stride()
        return _turn(given, cos, sin, -1.0)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        # What x1 gives to the second half it takes back from there: the halves of sin change places.
        return _turn(gradient, cos, sin.roll(sin.shape[-1] // 2, -1), 1.0, ctx.strides), None, None
