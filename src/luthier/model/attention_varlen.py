"""Document-isolated attention in one call for documents of any length (FlashAttention-2, Dao 2023): PyTorch's own
kernel, and the flash-attn package. CUDA only, in bf16 or fp16."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

import torch

from luthier.model.attention import boundaries_of, refuse
from luthier.model.precision import compute_type


def attend_varlen(
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
    missing = {"a soft cap": softcap, "sinks": s_aux, "a prefix": prefix, "dropout of weights": dropout or None}
    refuse(module, missing)
    bounds = boundaries(lengths, query.device)
    output = import_module("torch.nn.attention.varlen").varlen_attn(
        *_rows(query, key, value),
        bounds,
        bounds,
        max(lengths),
        max(lengths),
        scale=scaling,
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output[None].to(query.dtype), None


def attend_flash(
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
    refuse(module, {"sinks": s_aux, "a prefix": prefix})
    bounds = boundaries(lengths, query.device)
    output = import_module("flash_attn").flash_attn_varlen_func(
        *_rows(query, key, value),
        bounds,
        bounds,
        max(lengths),
        max(lengths),
        dropout_p=dropout,
        softmax_scale=scaling,
        causal=True,
        window_size=(-1 if sliding_window is None else sliding_window - 1, -1 if sliding_window is None else 0),
        softcap=softcap or 0.0,
    )
    return output[None].to(query.dtype), None


def _rows(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """[1, heads, T, size] -> [T, heads, size] in the type of the products, which these kernels are not cast to."""
    kind = compute_type(tensors[-1])
    return tuple(one[0].transpose(0, 1).to(kind) for one in tensors)


@lru_cache(maxsize=4)
def boundaries(lengths: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """[documents + 1]: the documents' cumulative lengths, copied to the device once for all layers of a batch.

    >>> boundaries((2, 3), torch.device("cpu")).tolist()
    [0, 2, 5]
    """
    return torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
