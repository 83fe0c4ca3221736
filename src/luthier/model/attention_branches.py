"""Attention of documents that branch: one prompt, and answers to it that never see one another.

A prompt is computed once for all of its answers, exactly: the prompt with its first answer is one causal document,
every other answer attends to the prompt's keys and its own. On a CPU in blocks of matrix products; elsewhere, and where
a model needs more than those do, each answer is given its prompt as queries too, for as long as attention takes, and
the kernel of documents does the rest.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

from luthier.model.attention import boundaries_of
from luthier.model.attention_blocks import in_blocks
from luthier.model.documents import Branches, documents_of

NAME = "luthier_branches"


def _branch_attention(
    documents: str,
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    branches: Branches,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """``query`` [1, heads, T, size], ``key`` and ``value`` [1, kv_heads, T, size] -> [1, T, heads, size].

    Args:
        documents: the attention implementation for documents that do not branch.
        branches: each document's lengths, its prompt's and each answer's.
    """
    boundaries_of(module, others.pop("document_lengths", None))
    window = others.get("sliding_window")
    windowed = window is not None and max(map(sum, branches)) > window
    special = windowed or others.get("dropout") or others.get("softcap") is not None or others.get("s_aux") is not None
    if query.device.type == "cpu" and not special:
        return in_blocks(query, key, value, tuple(documents_of((), branches)), others.get("scaling")), None
    places, wanted, whole = _repeated(branches, query.device)
    query, key, value = (one[:, :, places] for one in (query, key, value))
    output, _ = AttentionInterface()[documents](
        module, query, key, value, attention_mask, document_lengths=whole, **others
    )
    return output[:, wanted], None


@lru_cache(maxsize=8)
def _repeated(branches: Branches, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, tuple[int, ...]]:
    """(places in the pack of documents that do not branch, which of them each token of the pack is, their lengths)."""
    rows = [(_places(parts), new) for parts, new in documents_of((), branches)]
    wanted = torch.cat([torch.arange(len(one)) >= len(one) - new for one, new in rows]).nonzero()[:, 0]
    return torch.cat([one for one, _ in rows]).to(device), wanted.to(device), tuple(len(one) for one, _ in rows)


def _places(parts: tuple[slice, ...]) -> torch.Tensor:
    return torch.cat([torch.arange(part.start, part.stop) for part in parts])


def _attend(documents: str, module: torch.nn.Module, *words: Any, branches: Any = None, **others: Any) -> Any:
    if branches:
        return _branch_attention(documents, module, *words, branches=branches, **others)
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
