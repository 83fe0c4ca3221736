"""Log-probabilities of given tokens from an output layer that need not hold all logits.

What becomes of them is known only when a loss has compared whole answers, so a token's gradient cannot be made on the
way, as that of cross-entropy is: its logits are kept, or, where they are many, made again chunk by chunk.
"""

from __future__ import annotations

from typing import Any

import torch

from luthier.methods.cross_entropy import HEAD, Head, add_gradients, made_logits
from luthier.model.kernels.chunks import chunk_rows, even_rows, keeps_logits


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
    device = hidden.device.type
    compute = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    rows = even_rows(len(hidden), rows or chunk_rows(len(weight), device))
    keeps = keeps_logits(len(hidden), len(weight), device) if keeps is None else keeps
    keeps = keeps and torch.is_grad_enabled()
    found: torch.Tensor = _LogProbabilities.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, labels, head, compute, rows, keeps
    )
    return found


class _LogProbabilities(torch.autograd.Function):
    """With g the gradient of a token's log p(y), that of its logits is g ([y] - p)."""

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
        held = torch.empty((len(inputs) if keeps else rows, len(narrow)), dtype=compute, device=inputs.device)
        log_z, own = (torch.empty(len(inputs), device=inputs.device) for _ in range(2))
        with torch.autocast(inputs.device.type, enabled=False):
            for start in range(0, len(inputs), rows):
                piece = slice(start, start + rows)
                logits = _numbers(held, piece, keeps, inputs)
                wide = torch.mm(inputs[piece], narrow.T, out=logits).float()
                if bias is not None or head != HEAD:
                    wide = wide.clone() if wide is logits else wide
                    made_logits(wide, bias, head)
                torch.logsumexp(wide, 1, out=log_z[piece])
                own[piece] = wide.gather(1, labels[piece, None])[:, 0]
        ctx.save_for_backward(hidden, weight, bias, labels, log_z)
        ctx.held = held if keeps else None
        ctx.head, ctx.compute, ctx.rows, ctx.keeps = head, compute, rows, keeps
        return own - log_z

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, labels, log_z = ctx.saved_tensors
        compute, keeps, held, ctx.held = ctx.compute, ctx.keeps, ctx.held, None
        if keeps and held is None:
            raise RuntimeError("the gradients of kept log-probabilities can be taken once")
        narrow, inputs, wanted = weight.to(compute), hidden.to(compute), ctx.needs_input_grad
        grads = [
            torch.empty_like(inputs) if wanted[0] else None,
            torch.zeros(narrow.shape, device=inputs.device) if wanted[1] else None,
            torch.zeros(len(narrow), device=inputs.device) if wanted[2] else None,
        ]
        part = torch.empty_like(narrow) if wanted[1] and compute is not torch.float32 else None
        held = torch.empty((ctx.rows, len(narrow)), dtype=compute, device=inputs.device) if held is None else held
        with torch.autocast(inputs.device.type, enabled=False):
            for start in range(0, len(inputs), ctx.rows):
                piece = slice(start, start + ctx.rows)
                logits, share = _numbers(held, piece, keeps, inputs), gradient[piece, None]
                wide = (logits if keeps else torch.mm(inputs[piece], narrow.T, out=logits)).float()
                slope = made_logits(wide, bias, ctx.head)
                wide.sub_(log_z[piece, None]).exp_().mul_(-share).scatter_add_(1, labels[piece, None], share)
                if slope is not None:
                    wide.mul_(slope)
                elif ctx.head.scale != 1.0:
                    wide.mul_(ctx.head.scale)
                add_gradients(grads, piece, logits.copy_(wide), inputs, narrow, part, None)
        kinds = (hidden.dtype, weight.dtype, None if bias is None else bias.dtype)
        return (*(None if g is None else g.to(kind) for g, kind in zip(grads, kinds, strict=True)), *[None] * 5)


def _numbers(held: torch.Tensor, piece: slice, keeps: bool, inputs: torch.Tensor) -> torch.Tensor:
    """The room of a chunk's logits: its own, or the one that all chunks share."""
    return held[piece] if keeps else held[: len(inputs[piece])]
