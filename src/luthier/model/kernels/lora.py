"""LoRA's layers in one function (Hu et al. 2021): y = x W^T + b + s (x A^T) B^T, with W frozen.

PEFT casts x to the adapter's own type, which is fp32 beside a model that computes in bf16, and makes each step of the
sum a tensor. Here everything runs in the compute type, sums go into the products' own results, and x and x A^T are all
that is kept. Layers that are given the same input share the narrow products, which cost far more than their operations:
x A^T is one product for all of them, and so is the gradient of their A.

In fp32, with more tokens than W has features, W + s B A is made first: one product by it takes the place of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import nn

from luthier.model.kernels.products import PLAIN, Products
from luthier.model.kernels.siblings import Siblings
from luthier.model.precision import compute_type


def fuse_lora(model: nn.Module, siblings: Sequence[Sequence[str]] = (), products: Products = PLAIN) -> int:
    """Let every plain LoRA layer of a model compute so; returns how many do. Parameters stay where they are.

    ``siblings`` are names of layers that one module gives the same input. DoRA and PEFT's other variants, quantised
    base layers and layers with several adapters are left alone.
    """
    fused: set[nn.Module] = set()
    for module in model.modules():
        for names in siblings:
            _fuse([one for name in names if _is_plain(one := getattr(module, name, None))], products, fused)
    for module in model.modules():
        if module not in fused and _is_plain(module):
            _fuse([module], products, fused)
    return len(fused)


def _fuse(layers: Sequence[Any], products: Products, fused: set[nn.Module]) -> None:
    group = _Group(layers, products)
    for place, layer in enumerate(layers):
        layer.forward = partial(group.forward, place)
    fused.update(layers)


def _is_plain(module: Any) -> bool:
    if type(module) is not Linear or module.lora_variant or type(module.base_layer) is not nn.Linear:
        return False
    pairs = [*module.lora_A.values(), *module.lora_B.values()]
    return len(pairs) == 2 and all(type(one) is nn.Linear and one.bias is None for one in pairs)


class _Group:
    """Layers that are given the same input, or one alone."""

    def __init__(self, layers: Sequence[Any], products: Products) -> None:
        self.layers, self.products = tuple(layers), products
        self.names = [next(iter(one.lora_A)) for one in layers]
        self.own = [one.forward for one in layers]
        self.together = Siblings(len(layers), self._compute)

    def forward(self, place: int, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """[..., in] -> [..., out]; PEFT's own way where an adapter is off, merged or asked for something special."""
        if args or kwargs or not self._computes(hidden):
            result: torch.Tensor = self.own[place](hidden, *args, **kwargs)
            return result
        layer = self.layers[place]
        dropout = layer.lora_dropout[self.names[place]]
        if type(dropout) is nn.Identity or not layer.training:
            return self.together.output(place, hidden)
        given = hidden.to(compute_type(hidden))
        return _apply(given, dropout(given), [layer], [self.names[place]], self.products)[0]

    def _compute(self, hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return _apply(hidden.to(compute_type(hidden)), None, self.layers, self.names, self.products)

    def _computes(self, hidden: torch.Tensor) -> bool:
        kinds, special = {hidden.dtype}, False
        for layer, name in zip(self.layers, self.names, strict=True):
            special |= layer.disable_adapters or layer.merged or layer.active_adapters != [name]
            special |= layer.base_layer.weight.requires_grad
            kinds |= {one.weight.dtype for one in (layer.base_layer, layer.lora_A[name], layer.lora_B[name])}
        return not special and (len(kinds) == 1 or torch.is_autocast_enabled(hidden.device.type))


def _apply(
    hidden: torch.Tensor,
    dropped: torch.Tensor | None,
    layers: Sequence[Any],
    names: Sequence[str],
    products: Products,
) -> tuple[torch.Tensor, ...]:
    pairs = list(zip(layers, names, strict=True))
    outputs: tuple[torch.Tensor, ...] = _Lora.apply(  # type: ignore[no-untyped-call]
        hidden,
        dropped,
        products,
        tuple(float(one.scaling[name]) for one, name in pairs),
        *(one.base_layer.weight for one in layers),
        *(one.base_layer.bias for one in layers),
        *(one.lora_A[name].weight for one, name in pairs),
        *(one.lora_B[name].weight for one, name in pairs),
    )
    return outputs


def _scaled(downs: Sequence[torch.Tensor], scales: Sequence[float], kind: torch.dtype) -> torch.Tensor:
    """[the layers' ranks together, in]: every s A, one below another."""
    return torch.cat([one.to(kind) * scale for one, scale in zip(downs, scales, strict=True)])


def _adds_up(tokens: int, weights: Sequence[torch.Tensor], kind: torch.dtype) -> bool:
    """Whether W + s B A are worth making: 4 r in out operations in both passes in place of 2 r tokens (in + out).

    In 16 bits they would lose most of what B A adds.
    """
    exact = kind == torch.float32 and all(one.dtype == kind for one in weights)
    return exact and tokens * sum(sum(one.shape) for one in weights) >= 2 * sum(one.numel() for one in weights)


class _Lora(torch.autograd.Function):
    """x [..., in], x after dropout or None, scales s, and of each layer W [out, in], b [out] or None, A [r, in] and
    B [out, r] -> each layer's [..., out].

    With g the gradient of an output: dB = s g^T x A^T, dA = s (g B)^T x, dx = g W + s g B A; after dropout the last
    term is that of its own input. The gradients of A and B are made with their narrow side as columns: MKL shares rows
    out among its threads.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        dropped: torch.Tensor | None,
        products: Products,
        scales: tuple[float, ...],
        *tensors: Any,
    ) -> tuple[torch.Tensor, ...]:
        kind, count = hidden.dtype, len(scales)
        weights, biases, downs, ups = (tensors[at : at + count] for at in range(0, 4 * count, count))
        source = hidden if dropped is None else dropped
        flat = source.flatten(0, -2)
        ctx.added = dropped is None and _adds_up(len(flat), weights, kind)
        outputs = []
        with torch.autocast(hidden.device.type, enabled=False):
            inner = products.linear(flat, _scaled(downs, scales, kind), None)
            parts = torch.split(inner, [len(one) for one in downs], 1)
            for scale, weight, bias, down, up, part in zip(scales, weights, biases, downs, ups, parts, strict=True):
                moved = torch.addmm(weight, up, down, alpha=scale) if ctx.added else weight.to(kind)
                output = products.linear(hidden, moved, None if bias is None else bias.to(kind))
                if not ctx.added:
                    output.view(-1, len(weight)).addmm_(part, up.to(kind).t())
                outputs.append(output)
        ctx.save_for_backward(source, inner, *weights, *downs, *ups)
        ctx.products, ctx.scales, ctx.dropped = products, scales, dropped is not None
        ctx.biases = [None if one is None else one.dtype for one in biases]
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        source, inner, *tensors = ctx.saved_tensors
        products: Products = ctx.products
        count, kind, flat = len(ctx.scales), source.dtype, source.flatten(0, -2)
        weights, downs, ups = (tensors[at : at + count] for at in range(0, 3 * count, count))
        of_x, of_dropped, _, _, *of_others = ctx.needs_input_grad
        of_biases, of_downs, of_ups = (of_others[at * count : (at + 1) * count] for at in (1, 2, 3))
        found: list[list[torch.Tensor | None]] = [[], [], []]
        ranks = [len(one) for one in downs]
        of_inner, back, other = torch.empty_like(inner), None, None
        with torch.autocast(source.device.type, enabled=False):
            for place, (part, of_part) in enumerate(
                zip(*(torch.split(one, ranks, 1) for one in (inner, of_inner)), strict=True)
            ):
                scale, weight, down, up = (one[place] for one in (ctx.scales, weights, downs, ups))
                gradient = gradients[place].flatten(0, -2)
                of_part.copy_(products.linear(gradient, up.to(kind).t(), None))
                found[0].append(gradient.sum(0).to(ctx.biases[place]) if of_biases[place] else None)
                found[2].append(torch.mm(gradient.t(), part).to(up.dtype) if of_ups[place] else None)
                if of_x:
                    moved = torch.addmm(weight, up, down, alpha=scale) if ctx.added else weight.to(kind)
                    if back is None:
                        back = products.linear(gradient, moved.t(), None)
                    else:
                        products.added(back, gradient, moved.t())
            together = torch.split(torch.mm(flat.t(), of_inner).t(), ranks) if any(of_downs) else [None] * count
            for one, down, scale, asked in zip(together, downs, ctx.scales, of_downs, strict=True):
                found[1].append((one * scale).to(down.dtype) if asked else None)
            if of_dropped:
                other = torch.mm(of_inner, _scaled(downs, ctx.scales, kind)).view_as(source)
            elif back is not None and not ctx.added and not ctx.dropped:
                back.addmm_(of_inner, _scaled(downs, ctx.scales, kind))
        back = None if back is None else back.view_as(source)
        return back, other, None, None, *[None] * count, *(one for some in found for one in some)
