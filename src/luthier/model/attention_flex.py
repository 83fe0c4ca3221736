"""Document-isolated attention as one block mask over all documents, compiled (FlexAttention, Dong et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from luthier.model.attention import boundaries_of, refuse
from luthier.model.precision import compute_type


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
    """``query`` [1, heads, T, size], ``key`` and ``value`` [1, kv_heads, T, size] -> [1, T, heads, size]."""
    lengths = boundaries_of(module, document_lengths)
    refuse(module, {"sinks": s_aux, "a prefix": prefix, "dropout of weights": dropout or None})
    device = query.device
    kind = compute_type(value)
    given = (one.to(kind) for one in (query, key, value))
    output = _kernel(device.type)(
        *given,
        score_mod=None if softcap is None else capped(softcap),
        block_mask=block_mask(lengths, sliding_window, device),
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output.transpose(1, 2).contiguous().to(query.dtype), None


@lru_cache(maxsize=1)
def _kernel(device: str) -> Callable[..., torch.Tensor]:
    """The compiled kernel; a CPU, which can only look forward through it, is spared the compiler."""
    if device == "cpu":
        return flex_attention
    compiled: Callable[..., torch.Tensor] = torch.compile(flex_attention, dynamic=True)
    return compiled


@lru_cache(maxsize=4)
def block_mask(lengths: tuple[int, ...], window: int | None, device: torch.device) -> BlockMask:
    """Which blocks of queries and keys meet; made once for all layers of a batch."""
    total = sum(lengths)
    return create_block_mask(same_document(lengths, window, device), None, None, total, total, device=device)


def same_document(
    lengths: tuple[int, ...], window: int | None, device: torch.device
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """Whether a query sees a key: (batch, head, query, key) -> one of its own document, not after it, in the window."""
    document = torch.repeat_interleave(torch.tensor(lengths, device=device))

    def sees(batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        seen = (document[query] == document[key]) & (query >= key)
        return seen if window is None else seen & (query - key < window)

    return sees


@lru_cache(maxsize=4)
def capped(cap: float) -> Callable[..., torch.Tensor]:
    """Scores held below ``cap`` by a tanh."""

    def score(score: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return cap * torch.tanh(score / cap)

    return score
