"""Document-isolated attention in single operations: slow, and able to do what fused kernels are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from luthier.model.attention import boundaries_of


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    document_lengths: tuple[int, ...] | None = None,
    prefix: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """``query`` [1, heads, T, size], ``key`` and ``value`` [1, kv_heads, T, size] -> [1, T, heads, size].

    Scores are held below ``softcap`` by a tanh (Gemma 2); ``s_aux`` [heads] are scores that belong to no key (gpt-oss).
    """
    lengths = boundaries_of(module, document_lengths)
    groups = query.shape[1] // key.shape[1]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    before = None if prefix is None else [half.to(key.dtype) for half in prefix[module.layer_idx]]
    pieces = []
    for q, k, v in zip(*(torch.split(one, list(lengths), dim=2) for one in (query, key, value)), strict=True):
        if before is not None:
            k, v = torch.cat([before[0], k], dim=2), torch.cat([before[1], v], dim=2)
        k, v = (one.repeat_interleave(groups, dim=1) for one in (k, v))
        scores = (q @ k.transpose(2, 3)).float() * scale
        if softcap is not None:
            scores = (scores / softcap).tanh() * softcap
        scores = scores.masked_fill(~visible(q.shape[2], k.shape[2], sliding_window, q.device), -torch.inf)
        if s_aux is not None:
            sinks = s_aux.float().view(1, -1, 1, 1).expand(1, -1, q.shape[2], 1)
            weights = torch.cat([scores, sinks], dim=-1).softmax(-1)[..., :-1]
        else:
            weights = scores.softmax(-1)
        weights = torch.dropout(weights.to(v.dtype), dropout, train=True)
        pieces.append(weights @ v)
    return torch.cat(pieces, dim=2).transpose(1, 2).contiguous().to(query.dtype), None


def visible(queries: int, keys: int, window: int | None, device: torch.device) -> torch.Tensor:
    """[queries, keys]: the keys up to each query, whose last is the query's own, and within the window.

    >>> visible(2, 3, 2, torch.device("cpu")).int().tolist()
    [[1, 1, 0], [0, 1, 1]]
    """
    place = torch.arange(keys, device=device)
    distance = place[keys - queries :, None] - place[None, :]
    return distance >= 0 if window is None else (distance >= 0) & (distance < window)
