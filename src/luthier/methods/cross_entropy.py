"""Cross-entropy of an output layer that never holds all logits: chunk by chunk, with the gradients made on the way.

The gradient of a token's loss by its logits needs nothing but those logits, so each chunk of them is turned into its
share of the gradients of the hidden states and the weight, and its memory is used again for the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from luthier.model.kernels.chunks import chunk_rows, even_rows
from luthier.model.precision import compute_type


@dataclass(frozen=True, slots=True)
class Terms:
    """What a token's loss is made of, with p its softmax over V ids, y its id and Z the softmax's denominator.

    ``smoothing`` e (Szegedy et al. 2016, section 7) makes ``-log p(y)`` into ``-(1 - e) log p(y) - e / V sum log p``.
    ``by_probability`` multiplies that by p(y), through which no gradient goes (Wu et al. 2025, eq. 9: Dynamic
    Fine-Tuning). ``z_loss`` adds its multiple of ``(log Z)^2`` (Chowdhery et al. 2022, section 5).
    """

    smoothing: float = 0.0
    z_loss: float = 0.0
    by_probability: bool = False

    def __bool__(self) -> bool:
        return self != PLAIN

    def of(self, target: torch.Tensor, mean: torch.Tensor | float, log_z: torch.Tensor) -> torch.Tensor:
        """The losses [n] from ``log p(y)``, the mean of log p over the vocabulary, and ``log Z``, each [n]."""
        loss = -(1 - self.smoothing) * target - self.smoothing * mean
        if self.by_probability:
            loss = loss * target.detach().exp()
        return loss + self.z_loss * log_z.square() if self.z_loss else loss


PLAIN = Terms()


@dataclass(frozen=True, slots=True)
class Head:
    """What a model makes of its output layer's numbers x: logits are ``scale x``, or ``cap tanh(x / cap)``."""

    scale: float = 1.0
    cap: float | None = None


HEAD = Head()


def plain_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, terms: Terms = PLAIN) -> torch.Tensor:
    """(summed loss, summed -log p(y)) [2] of logits [n, V] as they are; the second has no gradient."""
    wide = logits.float()
    log_z = wide.logsumexp(-1)
    target = wide.gather(1, labels[:, None])[:, 0] - log_z
    mean = wide.mean(-1) - log_z if terms.smoothing else 0.0
    return torch.stack([terms.of(target, mean, log_z).sum(), -target.detach().sum()])


def linear_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    labels: torch.Tensor,
    terms: Terms = PLAIN,
    head: Head = HEAD,
    rows: int | None = None,
) -> torch.Tensor:
    """(summed loss, summed -log p(y)) [2] of hidden states [n, size] through an output layer [V, size] (+ bias [V]).

    Matrix products run in autocast's type, or in that of ``hidden``, all else in fp32. Only the first sum has
    gradients. ``rows`` is how many tokens' logits are held at once, unset: as many as suit the device.
    """
    compute = compute_type(hidden)
    rows = rows or chunk_rows(len(weight), hidden.device.type)
    sums: torch.Tensor = _Chunked.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, labels, terms, head, compute, rows, torch.is_grad_enabled()
    )
    return sums


class _Chunked(torch.autograd.Function):
    """With d a token's gradient by its logits: that of hidden is ``d W``, of W ``d^T hidden``, of the bias sum d.

    d = (w + 2 z log Z) p - w (1 - e) [y] - w e / V, with the weight w of the token, z of the z-loss, and e smoothing.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        labels: torch.Tensor,
        terms: Terms,
        head: Head,
        compute: torch.dtype,
        rows: int,
        learns: bool,
    ) -> torch.Tensor:
        wanted = [learns and wants for wants in ctx.needs_input_grad[:3]]
        narrow, inputs = weight.detach().to(compute), hidden.detach().to(compute)
        rows = even_rows(len(inputs), rows)
        shape = (rows, len(narrow))
        buffer = torch.empty(shape, dtype=compute, device=inputs.device)
        wide = buffer if compute is torch.float32 else torch.empty(shape, device=inputs.device)
        grads, part = room_for_gradients(inputs, narrow, wanted)
        sums = torch.zeros(2, device=inputs.device)
        with torch.autocast(inputs.device.type, enabled=False):
            for start in range(0, len(inputs), rows):
                piece = slice(start, start + rows)
                count = len(inputs[piece])
                logits, chunk = buffer[:count], wide[:count]
                torch.mm(inputs[piece], narrow.T, out=logits)
                loss, scale = _losses(logits, chunk, bias, labels[piece], terms, head, any(wanted))
                sums += loss
                if any(wanted):
                    logits.copy_(chunk)
                    add_gradients(grads, piece, logits, inputs, narrow, part, scale)
        ctx.kinds = [hidden.dtype, weight.dtype, None if bias is None else bias.dtype]
        ctx.grads = grads
        return sums

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        grads, ctx.grads = ctx.grads, None
        if grads is None:
            raise RuntimeError("the gradients of a chunked cross-entropy can be taken once")
        scaled = [None if g is None else g.mul_(gradient[0]).to(kind) for g, kind in zip(grads, ctx.kinds, strict=True)]
        return (*scaled, *[None] * 6)


def made_logits(numbers: torch.Tensor, bias: torch.Tensor | None, head: Head) -> torch.Tensor | None:
    """Make an output layer's numbers [n, V] into logits, in place; returns the slope of a cap [n, V], if any."""
    if bias is not None:
        numbers.add_(bias)
    if head.cap is None:
        if head.scale != 1.0:
            numbers.mul_(head.scale)
        return None
    slope = 1 - numbers.div_(head.cap).tanh_().square()
    numbers.mul_(head.cap)
    return slope


def _losses(
    logits: torch.Tensor,
    chunk: torch.Tensor,
    bias: torch.Tensor | None,
    labels: torch.Tensor,
    terms: Terms,
    head: Head,
    learns: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The sums [2] of some tokens, and in ``chunk`` their gradients by the output layer's numbers, but for a factor
    for each token [n, 1], which is returned (None: 1): it is cheaper to put into the hidden states."""
    slope = made_logits(chunk.copy_(logits), bias, head)
    own, highest = chunk.gather(1, labels[:, None]), chunk.amax(1, keepdim=True)
    mean = chunk.mean(1, keepdim=True) if terms.smoothing else None
    torch.softmax(chunk, 1, out=chunk)
    # The highest logit's probability is exactly 1 / sum(exp(logit - highest)), and never so small as to vanish.
    log_z = highest - chunk.amax(1, keepdim=True).log_()
    target = own - log_z
    sums = torch.stack([terms.of(target, 0.0 if mean is None else mean - log_z, log_z).sum(), -target.sum()])
    if not learns:
        return sums, None
    token = target.exp() if terms.by_probability else torch.ones_like(target)
    if terms.z_loss:
        chunk.mul_(token + 2 * terms.z_loss * log_z)
        share, factor = token, torch.full_like(token, head.scale)
    else:
        share, factor = torch.ones_like(token), token * head.scale
    chunk.scatter_add_(1, labels[:, None], (terms.smoothing - 1) * share)
    if terms.smoothing:
        chunk.sub_(share, alpha=terms.smoothing / chunk.shape[1])
    if slope is not None:
        chunk.mul_(slope)
    return sums, factor if terms.by_probability or head.scale != 1.0 else None


def room_for_gradients(
    inputs: torch.Tensor, narrow: torch.Tensor, wanted: Sequence[bool]
) -> tuple[list[torch.Tensor | None], torch.Tensor | None]:
    """Where ``add_gradients`` adds what is ``wanted`` of (hidden states, weight, bias), and room for a chunk's share of
    the weight's where it is not in fp32."""
    grads = [
        torch.empty_like(inputs) if wanted[0] else None,
        torch.zeros(narrow.shape, device=inputs.device) if wanted[1] else None,
        torch.zeros(len(narrow), device=inputs.device) if wanted[2] else None,
    ]
    return grads, torch.empty_like(narrow) if wanted[1] and narrow.dtype is not torch.float32 else None


def add_gradients(
    grads: list[torch.Tensor | None],
    piece: slice,
    logits: torch.Tensor,
    inputs: torch.Tensor,
    weight: torch.Tensor,
    part: torch.Tensor | None,
    scale: torch.Tensor | None,
) -> None:
    """Add a chunk's share to the gradients of hidden states, weight and bias; ``part`` is room for the weight's."""
    of_hidden, of_weight, of_bias = grads
    rows = inputs[piece]
    if of_hidden is not None:
        torch.mm(logits, weight, out=of_hidden[piece])
        if scale is not None:
            of_hidden[piece].mul_(scale)
    if scale is not None:
        rows = (rows * scale).to(rows.dtype)
    if of_weight is not None and part is None:
        of_weight.addmm_(logits.T, rows)
    elif of_weight is not None:
        of_weight.add_(torch.mm(logits.T, rows, out=part))
    if of_bias is not None:
        of_bias.add_((logits if scale is None else logits * scale).sum(0, dtype=torch.float32))
