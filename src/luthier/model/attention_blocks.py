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
from luthier.model.documents import Document, documents_of
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
    return in_blocks(query, key, value, tuple(documents_of(lengths, None)), scaling), None


def in_blocks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    documents: tuple[Document, ...],
    scaling: float | None,
) -> torch.Tensor:
    """query [1, heads, T, size], key [1, kv_heads, T, size], value [1, kv_heads, T, wide] -> [1, T, heads, wide].

    The last part of each of ``documents`` is nobody else's; its queries are at the end of it.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    kind = compute_type(value)
    given = (one.squeeze(0).to(kind) for one in (query, key, value))
    output: torch.Tensor = _Blocks.apply(*given, documents, scale)  # type: ignore[no-untyped-call]
    return output.unsqueeze(0).to(query.dtype)


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
    """query [heads, T, size], key [kv_heads, T, size] and value [kv_heads, T, wide] -> [T, heads, wide].

    With P = softmax(q k^T) and o = P v: dv = P^T do, dP = do v^T, dS = P (dP - sum(dP P)), dq = dS k, dk = dS^T q. The
    last block of a document, which sees all of its keys, is the first one, so that its dk and dv begin the sums.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        documents: tuple[Document, ...],
        scale: float,
    ) -> torch.Tensor:
        heads, tokens, _ = query.shape
        output = query.new_empty(tokens, heads, value.shape[2])
        pieces, kept = [], []
        with torch.autocast(query.device.type, enabled=False):
            for parts, length in documents:
                asking = _asking(parts, length)
                own = torch.unflatten(_together(query, (asking,), scale), 0, (len(key), -1))
                keys, values = _together(key, parts), _together(value, parts)
                pieces += [own, keys, values]
                placed, before, keeps = output[asking], keys.shape[1] - length, _keeps(keys)
                for first, end in blocks(length, own.itemsize):
                    weights = _weights(_rows(own, first, end), keys[:, : before + end], end - first)
                    made = torch.bmm(weights, values[:, : before + end])
                    placed[first:end] = made.view(heads, end - first, -1).transpose(0, 1)
                    kept += [weights] if keeps else []
        ctx.save_for_backward(*pieces, *kept)
        ctx.documents, ctx.scale = documents, scale
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        pieces = [(next(saved), next(saved), next(saved)) for _ in ctx.documents]
        tokens, heads, _ = gradient.shape
        of_query = gradient.new_empty(tokens, heads, pieces[0][0].shape[3])
        of_key, of_value = (gradient.new_empty(tokens, len(one), one.shape[2]) for one in pieces[0][1:])
        with torch.autocast(gradient.device.type, enabled=False):
            for (parts, length), (own, keys, values) in zip(ctx.documents, pieces, strict=True):
                asking = _asking(parts, length)
                back = torch.unflatten(_together(gradient.transpose(0, 1), (asking,)), 0, own.shape[:2])
                placed, before, keeps = of_query[asking], keys.shape[1] - length, _keeps(keys)
                sums: list[torch.Tensor] = []
                for first, end in blocks(length, own.itemsize):
                    rows, upper = _rows(own, first, end), before + end
                    weights = next(saved) if keeps else _weights(rows, keys[:, :upper], end - first)
                    back_rows = _rows(back, first, end)
                    change = torch.bmm(back_rows, values[:, :upper].transpose(1, 2))
                    change = torch._softmax_backward_data(change, weights, -1, weights.dtype)
                    made = torch.bmm(change, keys[:, :upper]).view(heads, end - first, -1).transpose(0, 1)
                    torch.mul(made, ctx.scale, out=placed[first:end])
                    products = (change.transpose(1, 2), rows), (weights.transpose(1, 2), back_rows)
                    if sums:
                        for total, (one, two) in zip(sums, products, strict=True):
                            total[:, :upper].baddbmm_(one, two)
                    else:
                        sums = [torch.bmm(one, two) for one, two in products]
                for whole, total in zip((of_key, of_value), sums, strict=True):
                    _add_parts(whole, parts, total.transpose(0, 1))
        return of_query.transpose(0, 1), of_key.transpose(0, 1), of_value.transpose(0, 1), None, None


def _asking(parts: tuple[slice, ...], length: int) -> slice:
    """Where a document's queries are: the last ``length`` tokens of its last part."""
    return slice(parts[-1].stop - length, parts[-1].stop)


def _keeps(keys: torch.Tensor) -> bool:
    """Whether the weights of a document, whose ``keys`` are [groups, n, size], are kept for the backward pass."""
    return keys.shape[1] * keys.itemsize <= KEPT


def _together(given: torch.Tensor, parts: tuple[slice, ...], scale: float = 1.0) -> torch.Tensor:
    """[heads, T, size] in any order -> the parts' [heads, n, size], each head's numbers together, with which products
    take half the time."""
    sizes = [part.stop - part.start for part in parts]
    made = given.new_empty(len(given), sum(sizes), given.shape[2])
    for part, piece in zip(parts, torch.split(made, sizes, 1), strict=True):
        torch.mul(given[:, part], scale, out=piece)
    return made


def _add_parts(whole: torch.Tensor, parts: tuple[slice, ...], total: torch.Tensor) -> None:
    """Bring [n, groups, size] to the parts of [T, groups, size]: the last one is new, those before it have sums."""
    *shared, last = torch.split(total, [part.stop - part.start for part in parts])
    for part, piece in zip(parts[:-1], shared, strict=True):
        whole[part] += piece
    whole[parts[-1]] = last


def _rows(given: torch.Tensor, first: int, end: int) -> torch.Tensor:
    """[groups, heads of each, n, size] -> [groups, heads of each x rows, size]."""
    return given[:, :, first:end].flatten(1, 2)


def _weights(query: torch.Tensor, key: torch.Tensor, rows: int) -> torch.Tensor:
    """[groups, heads of each x rows, size], [groups, m, size] -> softmax of the scores [groups, heads of each x rows,
    m]; the last ``rows`` of the m keys are the queries' own."""
    scores = torch.bmm(query, key.transpose(1, 2))
    scores.view(len(scores), -1, rows, scores.shape[-1])[..., -rows:] += _later(rows, scores.dtype)
    return scores.softmax(-1)
