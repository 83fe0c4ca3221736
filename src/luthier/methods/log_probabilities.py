"""Log-probabilities of given tokens from an output layer that need not hold all logits.

What becomes of them is known only when a loss has compared whole answers, so a token's gradient cannot be made on the
way, as that of cross-entropy is: its logits are kept, or, where they are many, made again chunk by chunk.
"""

from __future__ import annotations

from typing import Any

import torch

from luthier.methods.cross_entropy import HEAD, Head, add_gradients, made_logits, room_for_gradients
from luthier.model.kernels.chunks import chunk_rows, even_rows, keeps_logits
from luthier.model.precision import compute_type


def linear_log_probabilities(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    labels: torch.Tensor,
    head: Head = HEAD,
    rows: int | None = None,
    keeps: bool | None = None,
) -> torch.Tensor:
    """log p(y) [n] in fp32 of hidden states [n, size] through an output layer [V, size] (+ bias [V]).

    Matrix products run in autocast's type, or in that of ``hidden``, all else in fp32. ``rows`` is how many tokens'
    logits are worked on at once, ``keeps`` whether they are held until the backward pass, which can be run once; unset,
    what suits the device.
    """
    device, compute = hidden.device.type, compute_type(hidden)
    rows = even_rows(len(hidden), rows or chunk_rows(len(weight), device))
    keeps = keeps_logits(len(hidden), len(weight), device) if keeps is None else keeps
    keeps = keeps and torch.is_grad_enabled()
    found: torch.Tensor = _LogProbabilities.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, labels, head, compute, rows, keeps
    )
    return found


class _LogProbabilities(torch.autograd.Function):
    """With g the gradient of a token's log p(y), that of its logits is g ([y] - p).

    What is kept is p itself where that loses nothing, else the output layer's numbers in the type of its products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        labels: torch.Tensor,
        head: Head,
        compute: torch.dtype,
        rows: int,
        keeps: bool,
    ) -> torch.Tensor:
        narrow, inputs = weight.to(compute), hidden.to(compute)
        ctx.head, ctx.compute, ctx.rows, ctx.keeps = head, compute, rows, keeps
        ctx.made = keeps and compute is torch.float32 and head.cap is None
        held = torch.empty((len(inputs) if keeps else rows, len(narrow)), dtype=compute, device=inputs.device)
        found = torch.empty(len(inputs), device=inputs.device)
        with torch.autocast(inputs.device.type, enabled=False):
            for start in range(0, len(inputs), rows):
                piece = slice(start, start + rows)
                numbers = torch.mm(inputs[piece], narrow.T, out=_room(held, piece, keeps, inputs))
                wide = numbers.float()
                if wide is numbers and keeps and not ctx.made:
                    wide = numbers.clone()
                made_logits(wide, bias, head)
                own, highest = wide.gather(1, labels[piece, None])[:, 0], wide.amax(1)
                torch.softmax(wide, 1, out=wide)
                # The highest logit's probability is 1 / sum(exp(logit - highest)), and never so small as to vanish.
                found[piece] = own - highest + wide.amax(1).log_()
        ctx.save_for_backward(hidden, weight, bias, labels)
        ctx.held = held if keeps else None
        return found

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, labels = ctx.saved_tensors
        compute, keeps, held, ctx.held = ctx.compute, ctx.keeps, ctx.held, None
        if keeps and held is None:
            raise RuntimeError("the gradients of kept log-probabilities can be taken once")
        narrow, inputs = weight.to(compute), hidden.to(compute)
        grads, part = room_for_gradients(inputs, narrow, ctx.needs_input_grad)
        held = torch.empty((ctx.rows, len(narrow)), dtype=compute, device=inputs.device) if held is None else held
        with torch.autocast(inputs.device.type, enabled=False):
            for start in range(0, len(inputs), ctx.rows):
                piece = slice(start, start + ctx.rows)
                numbers, share = _room(held, piece, keeps, inputs), gradient[piece, None]
                if not keeps:
                    torch.mm(inputs[piece], narrow.T, out=numbers)
                wide, slope = numbers.float(), None
                if not ctx.made:
                    slope = made_logits(wide, bias, ctx.head)
                    torch.softmax(wide, 1, out=wide)
                wide.mul_(share * -ctx.head.scale).scatter_add_(1, labels[piece, None], share * ctx.head.scale)
                if slope is not None:
                    wide.mul_(slope)
                numbers.copy_(wide)
                if not keeps:
                    add_gradients(grads, piece, numbers, inputs, narrow, part, None)
            if keeps:
                add_gradients(grads, slice(None), held, inputs, narrow, part, None)
        kinds = (hidden.dtype, weight.dtype, None if bias is None else bias.dtype)
        return (*(None if g is None else g.to(kind) for g, kind in zip(grads, kinds, strict=True)), *[None] * 5)


def _room(held: torch.Tensor, piece: slice, keeps: bool, inputs: torch.Tensor) -> torch.Tensor:
    """Where a chunk's numbers go: a place of its own, or the one that all chunks share."""
    return held[piece] if keeps else held[: len(inputs[piece])]
