"""Linear layers that are given the same input, run as one matrix product.

The layers stay where they are: each keeps its weight under its own name, so that optimisers, clipping, checkpoints and
files see what they always see. Only the numbers lie end to end in one matrix, and gradients are slices of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from luthier.model.kernels.siblings import Siblings
from luthier.model.precision import compute_type


def join_layers(model: nn.Module, names: Sequence[str]) -> int:
    """Join the layers of these names in every module that has all of them; returns how many modules have.

    Only plain linear layers of one width, type and device are joined; an adapter's or quantised ones are left alone.
    """
    found = 0
    for module in model.modules():
        layers = [getattr(module, name, None) for name in names]
        if all(type(one) is nn.Linear for one in layers):
            found += _join(layers)  # type: ignore[arg-type]
    return found


def _join(layers: Sequence[nn.Linear]) -> bool:
    kinds = {(one.in_features, one.weight.dtype, one.weight.device, one.bias is None) for one in layers}
    if len(kinds) > 1:
        return False
    weights: list[Any] = [one.weight for one in layers]
    _lay_end_to_end(weights)
    biases: list[Any] = [one.bias for one in layers if one.bias is not None]
    _lay_end_to_end(biases)
    together = Siblings(len(layers), partial(_all, tuple(layers)))
    for place, layer in enumerate(layers):
        layer.forward = partial(together.output, place)  # type: ignore[method-assign]
    return True


def _lay_end_to_end(parameters: Sequence[nn.Parameter]) -> None:
    """Move the parameters' numbers into one storage, one after another."""
    if not parameters:
        return
    together = torch.cat([one.detach() for one in parameters])
    for parameter, part in zip(parameters, torch.split(together, [len(one) for one in parameters]), strict=True):
        parameter.data = part


def _all(layers: Sequence[nn.Linear], hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """[..., in] -> each layer's [..., out]."""
    weights = [one.weight for one in layers]
    kind = compute_type(weights[0])
    biases = [] if layers[0].bias is None else [one.bias for one in layers]
    parts: tuple[torch.Tensor, ...] = _Joined.apply(hidden, kind, *weights, *biases)  # type: ignore[no-untyped-call]
    return parts


def whole(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Tensors one after another along their first dimension: a view where they lie so in one storage, else a copy.

    Whatever moves a model (to a device, to a type, into an engine's own buffers) takes its weights apart again; the
    product is then the same, and costs a copy of them.
    """
    first = parts[0]
    adjoining = all(one.is_contiguous() for one in parts) and all(
        before.data_ptr() + before.nbytes == after.data_ptr()
        and before.untyped_storage().data_ptr() == after.untyped_storage().data_ptr()
        for before, after in pairwise(parts)
    )
    if not adjoining:
        return torch.cat(tuple(parts))
    return first.as_strided((sum(map(len, parts)), *first.shape[1:]), first.stride(), first.storage_offset())


class _Joined(torch.autograd.Function):
    """hidden [..., in], weights [out_i, in], biases [out_i] or none -> the layers' outputs [..., out_i]."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, kind: torch.dtype, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        count = len([one for one in tensors if one.ndim == 2])
        weights, biases = tensors[:count], tensors[count:]
        ctx.rows, ctx.kinds = [len(one) for one in weights], [one.dtype for one in tensors]
        given = hidden.to(kind)
        weight = whole([one.detach() for one in weights]).to(kind)
        bias = whole([one.detach() for one in biases]).to(kind) if biases else None
        ctx.save_for_backward(given, weight)
        ctx.kind = hidden.dtype
        return tuple(torch.split(linear(given, weight, bias), ctx.rows, -1))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        given, weight = ctx.saved_tensors
        gradient = torch.cat(gradients, -1)
        flat = gradient.flatten(0, -2)
        back = (gradient @ weight).to(ctx.kind) if ctx.needs_input_grad[0] else None
        found: list[torch.Tensor | None] = [None] * (len(ctx.needs_input_grad) - 2)
        wanted, count = ctx.needs_input_grad[2:], len(ctx.rows)
        if any(wanted[:count]):
            found[:count] = torch.split((flat.t() @ given.flatten(0, -2)).to(ctx.kinds[0]), ctx.rows)
        if any(wanted[count:]):
            found[count:] = torch.split(flat.sum(0).to(ctx.kinds[count]), ctx.rows)
        return back, None, *(one if asked else None for one, asked in zip(found, wanted, strict=True))
