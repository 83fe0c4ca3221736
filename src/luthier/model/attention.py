"""Attention in which the documents of a batch never see one another.

Registered with transformers as one more attention implementation. Each document goes through PyTorch's scaled
dot-product attention by itself, so that isolation is exact and not a matter of masks.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from luthier.errors import ModelError

NAME = "luthier_documents"


def _document_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    document_lengths: tuple[int, ...] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """``query`` [1, heads, T, size], ``key`` and ``value`` [1, kv_heads, T, size] -> [1, T, heads, size]."""
    if document_lengths is None or softcap is not None or s_aux is not None:
        raise ModelError(
            f"{type(module).__name__} does not pass document boundaries on, or needs soft-capping or sinks",
            remedy="set pack.kind: none and batch.micro: 1 with model.attention: eager",
        )
    kept = query.dtype
    on_cpu = query.device.type == "cpu"
    if on_cpu:
        # On CPUs PyTorch's kernel is about twice as fast in fp32 as in bf16 on documents of a few hundred tokens.
        query, key, value = query.float(), key.float(), value.float()
    pieces = []
    documents = (torch.split(tensor, list(document_lengths), dim=2) for tensor in (query, key, value))
    with torch.autocast(query.device.type, enabled=False) if on_cpu else nullcontext():
        for q, k, v in zip(*documents, strict=True):
            windowed = sliding_window is not None and q.shape[2] > sliding_window
            pieces.append(
                scaled_dot_product_attention(
                    q,
                    k,
                    v,
                    attn_mask=_window(q.shape[2], sliding_window, q.device) if windowed and sliding_window else None,
                    dropout_p=dropout,
                    scale=scaling,
                    is_causal=not windowed,
                    enable_gqa=query.shape[1] != key.shape[1],
                )
            )
    return torch.cat(pieces, dim=2).transpose(1, 2).to(kept), None


def _window(length: int, window: int, device: torch.device) -> torch.Tensor:
    position = torch.arange(length, device=device)
    distance = position[:, None] - position[None, :]
    return (distance >= 0) & (distance < window)


def register() -> str:
    """Make the implementation known to transformers; returns its name."""
    AttentionInterface.register(NAME, _document_attention)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
    return NAME
