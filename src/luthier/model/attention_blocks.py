"""Document-isolated attention in blocks of matrix products: the fast form on a CPU.

Blocks of a document's queries meet the keys up to their end, so that what lies after them is not computed, and all
documents are one function with one backward pass (after Dao et al. 2022, without the single pass that a CPU gains
nothing from).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch

from luthier.model.attention import boundaries_of, document_attention
from luthier.model.precision import compute_type

BLOCK = 512
"""Bytes of a block's queries, of one feature each: 128 queries in fp32, 256 in bf16."""

KEPT = 2048
"""Bytes of a query's weights up to which a document keeps them for the backward pass: 1024 tokens in bf16. Those of
longer ones, which grow with the square of the length, are computed again."""

LONG = 1024
"""Tokens of a document from which on PyTorch's kernel is the faster one in fp32."""


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    document_lengths: tuple[int, ...] | None = None,
    prefix: Any = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """``query`` [1, heads, T, size], ``key`` and ``value`` [1, kv_heads, T, size] -> [1, T, heads, size].

    What it does not know (a window that a document exceeds, a prefix, dropout) goes the way of ``sdpa``, and so do long
    documents in fp32.
    """
    lengths = boundaries_of(module, document_lengths)
    windowed = sliding_window is not None and max(lengths) > sliding_window
    slower = max(lengths) > LONG and compute_type(value) is torch.float32
    if slower or windowed or prefix is not None or dropout or softcap is not None or s_aux is not None:
        return document_attention(
            module,
            query,
            key,
            value,
            attention_mask,
            document_lengths=lengths,
            prefix=prefix,
            scaling=scaling,
            dropout=dropout,
            sliding_window=sliding_window,
            softcap=softcap,
            s_aux=s_aux,
        )
    return in_blocks(query, key, value, tuple((0, length) for length in lengths), scaling), None


def in_blocks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: tuple[tuple[int, int], ...],
    scaling: float | None,
) -> torch.Tensor:
    """``query`` [1, heads, T, size], ``key`` and ``value`` [1, kv_heads, C + T, size] -> [1, T, heads, size].

    ``lengths`` are, of each document, keys that come before its first query, and its queries, which have keys too.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    kind = compute_type(value)
    given = (one.squeeze(0).to(kind) for one in (query, key, value))
    output: torch.Tensor = _Blocks.apply(*given, lengths, scale)  # type: ignore[no-untyped-call]
    return output.unsqueeze(0).to(query.dtype)


def documents(lengths: tuple[tuple[int, int], ...]) -> Iterator[tuple[slice, slice]]:
    """Where each document's keys and its queries are.

    >>> list(documents(((0, 3), (2, 5))))
    [(slice(0, 3, None), slice(0, 3, None)), (slice(3, 10, None), slice(3, 8, None))]
    """
    begin = at = 0
    for before, length in lengths:
        yield slice(begin, begin + before + length), slice(at, at + length)
        begin, at = begin + before + length, at + length


def blocks(length: int, width: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each block of a document's queries, numbers of which take ``width`` bytes; the last one first.

    >>> list(blocks(300, 4))
    [(256, 300), (128, 256), (0, 128)]
    """
    rows = BLOCK // width
    for begin in range((length - 1) // rows * rows, -1, -rows):
        yield begin, min(begin + rows, length)


@lru_cache
def _later(rows: int, kind: torch.dtype) -> torch.Tensor:
    """[rows, rows]: minus infinity where a key comes after its query."""
    return torch.full((rows, rows), -torch.inf, dtype=kind).triu_(1)


class _Blocks(torch.autograd.Function):
    """query [heads, T, size], key and value [kv_heads, C + T, size] -> [T, heads, size].

    With P = softmax(q k^T) and o = P v: dv = P^T do, dP = do v^T, dS = P (dP - sum(dP P)), dq = dS k, dk = dS^T q. The
    last block of a document, which sees all of its keys, is the first one, so that its dk and dv begin the sums.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        lengths: tuple[tuple[int, int], ...],
        scale: float,
    ) -> torch.Tensor:
        heads, tokens, size = query.shape
        output = query.new_empty(tokens, heads, size)
        pieces, kept = [], []
        with torch.autocast(query.device.type, enabled=False):
            for (before, length), (seen, asking) in zip(lengths, documents(lengths), strict=True):
                own = _together(query[:, asking], scale).view(len(key), -1, length, size)
                keys, values = _together(key[:, seen]), _together(value[:, seen])
                pieces += [own, keys, values]
                placed, keeps = output[asking], (before + length) * own.itemsize <= KEPT
                for first, end in blocks(length, own.itemsize):
                    weights = _weights(_rows(own, first, end), keys[:, : before + end], end - first)
                    made = torch.bmm(weights, values[:, : before + end])
                    placed[first:end] = made.view(heads, -1, size).transpose(0, 1)
                    kept += [weights] if keeps else []
        ctx.save_for_backward(*pieces, *kept)
        ctx.lengths, ctx.scale = lengths, scale
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        lengths = ctx.lengths
        saved = iter(ctx.saved_tensors)
        pieces = [(next(saved), next(saved), next(saved)) for _ in lengths]
        (groups, _, size), heads = pieces[0][1].shape, gradient.shape[1]
        of_query = gradient.new_empty(gradient.shape)
        of_key, of_value = (gradient.new_empty(sum(map(sum, lengths)), groups, size) for _ in range(2))
        with torch.autocast(gradient.device.type, enabled=False):
            places = zip(lengths, documents(lengths), pieces, strict=True)
            for (before, length), (seen, asking), (own, keys, values) in places:
                back = _together(gradient[asking].transpose(0, 1)).view_as(own)
                placed, keeps = of_query[asking], (before + length) * own.itemsize <= KEPT
                sums: list[torch.Tensor] = []
                for first, end in blocks(length, own.itemsize):
                    rows, upper = _rows(own, first, end), before + end
                    weights = next(saved) if keeps else _weights(rows, keys[:, :upper], end - first)
                    back_rows = _rows(back, first, end)
                    change = torch.bmm(back_rows, values[:, :upper].transpose(1, 2))
                    change = torch._softmax_backward_data(change, weights, -1, weights.dtype)
                    made = torch.bmm(change, keys[:, :upper]).view(heads, -1, size).transpose(0, 1)
                    torch.mul(made, ctx.scale, out=placed[first:end])
                    products = (change.transpose(1, 2), rows), (weights.transpose(1, 2), back_rows)
                    if sums:
                        for total, (one, two) in zip(sums, products, strict=True):
                            total[:, :upper].baddbmm_(one, two)
                    else:
                        sums = [torch.bmm(one, two) for one, two in products]
                of_key[seen], of_value[seen] = (one.transpose(0, 1) for one in sums)
        return of_query.transpose(0, 1), of_key.transpose(0, 1), of_value.transpose(0, 1), None, None


def _together(given: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    """[heads, n, size] in any order -> each head's numbers together, with which products take half the time."""
    return torch.mul(given, scale, out=given.new_empty(given.shape))


def _rows(given: torch.Tensor, first: int, end: int) -> torch.Tensor:
    """[groups, heads of each, n, size] -> [groups, heads of each x rows, size]."""
    return given[:, :, first:end].flatten(1, 2)


def _weights(query: torch.Tensor, key: torch.Tensor, rows: int) -> torch.Tensor:
    """[groups, heads of each x rows, size], [groups, m, size] -> softmax of the scores [groups, heads of each x rows,
    m]; the last ``rows`` of the m keys are the queries' own."""
    scores = torch.bmm(query, key.transpose(1, 2))
    scores.view(len(scores), -1, rows, scores.shape[-1])[..., -rows:] += _later(rows, scores.dtype)
    return scores.softmax(-1)
