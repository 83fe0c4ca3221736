"""Document-isolated attention in blocks of matrix products: the fast form on a CPU.

Rows of 256 queries meet the keys up to their end, so that what lies after them is not computed, and all documents are
one function with one backward pass (after Dao et al. 2022, without the single pass that a CPU gains nothing from).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch

from luthier.model.attention import boundaries_of, document_attention
from luthier.model.precision import compute_type

ROWS = 256
"""Queries of a block."""

KEPT = 2048
"""Bytes of a query's weights up to which a document keeps them for the backward pass: 1024 tokens in bf16. Those of
longer ones, which grow with the square of the length, are computed again."""


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

    What it does not know (a window that a document exceeds, a prefix, dropout) goes the way of ``sdpa``.
    """
    lengths = boundaries_of(module, document_lengths)
    windowed = sliding_window is not None and max(lengths) > sliding_window
    if windowed or prefix is not None or dropout or softcap is not None or s_aux is not None:
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
    # Head by head in memory, products with a transposed side take half the time.
    given = (one.squeeze(0).to(kind).contiguous() for one in (query, key, value))
    output: torch.Tensor = _Blocks.apply(*given, lengths, scale)  # type: ignore[no-untyped-call]
    return output.unsqueeze(0).to(query.dtype)


def blocks(lengths: tuple[tuple[int, int], ...], width: int) -> Iterator[tuple[slice, slice, bool]]:
    """(keys of a block, its queries, whether their weights, of so many bytes each, are kept).

    >>> list(blocks(((0, 300), (2, 5)), 2))[1:]
    [(slice(0, 300, None), slice(256, 300, None), True), (slice(300, 307, None), slice(300, 305, None), True)]
    """
    begin = at = 0
    for before, length in lengths:
        for first in range(0, length, ROWS):
            end = min(first + ROWS, length)
            kept = (before + length) * width <= KEPT
            yield slice(begin, begin + before + end), slice(at + first, at + end), kept
        begin, at = begin + before + length, at + length


@lru_cache
def _later(kind: torch.dtype) -> torch.Tensor:
    """[ROWS, ROWS]: minus infinity where a key comes after its query."""
    return torch.full((ROWS, ROWS), -torch.inf, dtype=kind).triu_(1)


class _Blocks(torch.autograd.Function):
    """query [heads, T, size], key and value [kv_heads, C + T, size] -> [T, heads, size].

    With P = softmax(q k^T) and o = P v: dv = P^T do, dP = do v^T, dS = P (dP - sum(dP P)), dq = dS k, dk = dS^T q.
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
        groups = len(key)
        with torch.autocast(query.device.type, enabled=False):
            scaled = (query * scale).view(groups, heads // groups, tokens, size)
            output = torch.empty(tokens, heads, size, dtype=query.dtype)
            placed = output.view(tokens, groups, heads // groups, size).permute(1, 2, 0, 3)
            kept = []
            for seen, asking, keeps in blocks(lengths, query.itemsize):
                weights = _weights(scaled[:, :, asking], key[:, seen])
                made = torch.bmm(weights.flatten(1, 2), value[:, seen])
                placed[:, :, asking] = made.view(groups, heads // groups, -1, size)
                kept += [weights] if keeps else []
        ctx.save_for_backward(scaled, key, value, *kept)
        ctx.lengths, ctx.scale = lengths, scale
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        scaled, key, value, *kept = ctx.saved_tensors
        groups, each, tokens, size = scaled.shape
        with torch.autocast(key.device.type, enabled=False):
            given = gradient.view(tokens, groups, each, size).permute(1, 2, 0, 3).contiguous()
            of_query, of_key = torch.empty_like(scaled), torch.zeros_like(key)
            of_value = torch.zeros(key.shape[1], groups, size, dtype=value.dtype).transpose(0, 1)
            for seen, asking, keeps in blocks(ctx.lengths, key.itemsize):
                keys, values, own = key[:, seen], value[:, seen], scaled[:, :, asking]
                weights = kept.pop(0) if keeps else _weights(own, keys)
                back, flat = given[:, :, asking].flatten(1, 2), weights.flatten(1, 2)
                of_value[:, seen] += torch.bmm(flat.transpose(1, 2), back)
                change = torch.bmm(back, values.transpose(1, 2))
                change = torch._softmax_backward_data(change, flat, -1, flat.dtype)
                of_query[:, :, asking] = torch.bmm(change, keys).view_as(own)
                of_key[:, seen] += torch.bmm(change.transpose(1, 2), own.flatten(1, 2))
        return of_query.mul_(ctx.scale).flatten(0, 1), of_key, of_value, None, None


def _weights(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """[groups, heads of each, n, size], [groups, m, size] -> softmax of the scores [groups, heads of each, n, m]; the
    last n of the m keys are the queries' own."""
    groups, each, rows, _ = query.shape
    scores = torch.bmm(query.flatten(1, 2), key.transpose(1, 2)).view(groups, each, rows, -1)
    scores[..., -rows:] += _later(scores.dtype)[:rows, :rows]
    return scores.softmax(-1)
