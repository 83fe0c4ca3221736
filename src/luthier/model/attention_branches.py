"""Attention of documents that branch: one prompt, and answers to it that never see one another.

A prompt is computed once for all of its answers, exactly: the prompt with its first answer is one causal document,
every other answer attends to the prompt's keys and its own. On a CPU in blocks of matrix products, elsewhere, and under
a sliding window or dropout, through PyTorch's scaled dot-product attention.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from luthier.model.attention import boundaries_of, refuse
from luthier.model.attention_blocks import in_blocks

NAME = "luthier_branches"


def _branch_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    branches: tuple[tuple[int, ...], ...] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """``query`` [1, heads, T, size], ``key`` and ``value`` [1, kv_heads, T, size] -> [1, T, heads, size].

    ``branches`` are each document's lengths: its prompt's and each answer's.
    """
    boundaries_of(module, others.get("document_lengths"))
    windowed = sliding_window is not None and max(map(sum, branches or ())) > sliding_window
    if query.device.type == "cpu" and not (windowed or dropout or softcap is not None or s_aux is not None):
        places, lengths = _keys(branches or (), query.device)
        return in_blocks(query, key[:, :, places], value[:, :, places], lengths, scaling), None
    refuse(module, {"a soft cap": softcap, "sinks": s_aux})
    kept = query.dtype
    on_cpu = query.device.type == "cpu"
    if on_cpu:
        query, key, value = query.float(), key.float(), value.float()
    pieces, at = [], 0
    with torch.autocast(query.device.type, enabled=False) if on_cpu else nullcontext():
        for prompt, first, *rest in branches or ():
            for number, length in enumerate((first, *rest)):
                begin = at if not number else at + prompt + sum((first, *rest)[:number])
                stop = at + prompt + first if not number else begin + length
                keys, values = key[:, :, begin:stop], value[:, :, begin:stop]
                if number:
                    keys = torch.cat([key[:, :, at : at + prompt], keys], dim=2)
                    values = torch.cat([value[:, :, at : at + prompt], values], dim=2)
                windowed = sliding_window is not None and keys.shape[2] > sliding_window
                masked = windowed or number > 0
                pieces.append(
                    scaled_dot_product_attention(
                        query[:, :, begin:stop],
                        keys,
                        values,
                        attn_mask=_mask(stop - begin, keys.shape[2], sliding_window, query.device) if masked else None,
                        dropout_p=dropout,
                        scale=scaling,
                        is_causal=not masked,
                        enable_gqa=query.shape[1] != key.shape[1],
                    )
                )
            at += prompt + first + sum(rest)
    return torch.cat(pieces, dim=2).transpose(1, 2).to(kept), None


@lru_cache(maxsize=8)
def _keys(
    branches: tuple[tuple[int, ...], ...], device: torch.device
) -> tuple[torch.Tensor, tuple[tuple[int, int], ...]]:
    """Which keys stand before the queries of each branch and among them, and how many of each: the prompt with its
    first answer is one document, every other answer has the prompt's keys before it."""
    places, lengths, at = [], [], 0
    for prompt, first, *rest in branches:
        stem, begin = torch.arange(at, at + prompt), at + prompt + first
        places.append(torch.arange(at, begin))
        lengths.append((0, prompt + first))
        for length in rest:
            places += [stem, torch.arange(begin, begin + length)]
            lengths.append((prompt, length))
            begin += length
        at = begin
    return torch.cat(places).to(device), tuple(lengths)


def _mask(queries: int, keys: int, window: int | None, device: torch.device) -> torch.Tensor:
    """[queries, keys]: the last queries of a causal document, and which of its keys they see."""
    place = torch.arange(keys, device=device)
    distance = place[keys - queries :, None] - place[None, :]
    return distance >= 0 if window is None else (distance >= 0) & (distance < window)


def _attend(documents: str, module: torch.nn.Module, *words: Any, branches: Any = None, **others: Any) -> Any:
    if branches:
        return _branch_attention(module, *words, branches=branches, **others)
    return AttentionInterface()[documents](module, *words, **others)


def register_branches(documents: str) -> str:
    """Make the implementation known to transformers; returns its name.

    Args:
        documents: the implementation that attends where nothing branches.
    """
    if documents.startswith(NAME):
        return documents
    name = f"{NAME}_{documents}"
    AttentionInterface.register(name, partial(_attend, documents))
    AttentionMaskInterface.register(name, lambda *args, **kwargs: None)
    return name
