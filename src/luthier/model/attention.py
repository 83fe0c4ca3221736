"""Attention in which the documents of a batch never see one another.

Registered with transformers as more attention implementations, one a kernel (``kernels/choose.py`` says which is used
when). Here is the one that runs everywhere: each document goes by itself through PyTorch's scaled dot-product
attention, so that isolation is exact and not a matter of masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from luthier.errors import ModelError

NAME = "luthier_documents"

KERNELS = {
    "sdpa": (NAME, "luthier.model.attention:document_attention"),
    "blocks": ("luthier_blocks", "luthier.model.attention_blocks:attend"),
    "eager": ("luthier_eager", "luthier.model.attention_eager:attend"),
    "flex": ("luthier_flex", "luthier.model.attention_flex:attend"),
    "varlen": ("luthier_varlen", "luthier.model.attention_varlen:attend_varlen"),
    "flash": ("luthier_flash", "luthier.model.attention_varlen:attend_flash"),
}
"""Kernel -> the name it is registered under, and where it stands; nothing is imported before it is asked for."""

NAMES = frozenset(name for name, _ in KERNELS.values())
"""What transformers knows them by."""


def document_attention(
    module: torch.nn.Module,
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

    ``prefix`` holds keys and values [1, kv_heads, P, size] for each layer, which every document sees before its own.
    """
    document_lengths = boundaries_of(module, document_lengths)
    refuse(module, {"a soft cap": softcap, "sinks": s_aux})
    kept = query.dtype
    on_cpu = query.device.type == "cpu"
    if on_cpu:
        # On CPUs PyTorch's kernel is about twice as fast in fp32 as in bf16 on documents of a few hundred tokens.
        query, key, value = query.float(), key.float(), value.float()
    before = None if prefix is None else _before(module, prefix, key.dtype)
    virtual = 0 if before is None else before[0].shape[2]
    pieces = []
    documents = (torch.split(tensor, list(document_lengths), dim=2) for tensor in (query, key, value))
    with torch.autocast(query.device.type, enabled=False) if on_cpu else nullcontext():
        for q, k, v in zip(*documents, strict=True):
            length = q.shape[2]
            if before is not None:
                k, v = torch.cat([before[0], k], dim=2), torch.cat([before[1], v], dim=2)
            windowed = sliding_window is not None and virtual + length > sliding_window
            masked = windowed or virtual > 0
            pieces.append(
                scaled_dot_product_attention(
                    q,
                    k,
                    v,
                    attn_mask=_mask(length, virtual, sliding_window, q.device) if masked else None,
                    dropout_p=dropout,
                    scale=scaling,
                    is_causal=not masked,
                    enable_gqa=query.shape[1] != key.shape[1],
                )
            )
    return torch.cat(pieces, dim=2).transpose(1, 2).contiguous().to(kept), None


@dataclass(frozen=True, slots=True)
class Sealed:
    """Documents' lengths that the tracer of torch.compile does not look into: it would compile anew for others."""

    lengths: tuple[int, ...]


def boundaries_of(module: torch.nn.Module, lengths: tuple[int, ...] | Sealed | None) -> tuple[int, ...]:
    """The documents' lengths, which a model has to hand down to its attention.

    Raises:
        ModelError: it does not.
    """
    if lengths is None:
        raise ModelError(
            f"{type(module).__name__} does not pass document boundaries on, so documents would not be isolated",
            place="model.attention",
            remedy="set model.attention: alone",
        )
    return lengths.lengths if isinstance(lengths, Sealed) else lengths


def refuse(module: torch.nn.Module, asked: Mapping[str, Any]) -> None:
    """Refuse what a kernel does not compute; ``asked`` are the model's needs by name.

    Raises:
        ModelError: the model needs one of them.
    """
    needed = [name for name, value in asked.items() if value is not None]
    if needed:
        raise ModelError(
            f"{type(module).__name__} needs {' and '.join(needed)}, which this attention kernel has not",
            place="model.attention",
            remedy="set model.attention: eager",
        )


def _before(module: Any, prefix: Sequence[tuple[torch.Tensor, torch.Tensor]], kind: torch.dtype) -> list[torch.Tensor]:
    """This layer's keys and values."""
    return [half.to(kind) for half in prefix[module.layer_idx]]


def _mask(length: int, virtual: int, window: int | None, device: torch.device) -> torch.Tensor:
    """[length, virtual + length]: which keys, virtual ones first, the tokens of a document see."""
    key = torch.arange(virtual + length, device=device)
    distance = key[virtual:, None] - key[None, :]
    return distance >= 0 if window is None else (distance >= 0) & (distance < window)


def register(kernel: str = "sdpa") -> str:
    """Make an implementation known to transformers; returns its name."""
    name, place = KERNELS[kernel]
    module, _, function = place.partition(":")
    AttentionInterface.register(name, getattr(import_module(module), function))
    AttentionMaskInterface.register(name, lambda *args, **kwargs: None)
    return name
