"""Attention of documents that branch, against one softmax under the mask that says who sees whom."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from luthier.model.attention import register
from luthier.model.attention_branches import _branch_attention, register_branches

BRANCHES = ((5, 3, 2), (1, 4), (300, 7, 20, 1))


def seen(branches: tuple[tuple[int, ...], ...], window: int | None) -> torch.Tensor:
    """[T, T]: which keys each query sees, token by token."""
    places = [
        (document, branch, position)
        for document, (prompt, *answers) in enumerate(branches)
        for branch, length in enumerate((prompt, *answers))
        for position in ((prompt if branch else 0) + step for step in range(length))
    ]
    near = window or 1 << 30
    return torch.tensor([[d == e and c in (0, b) and 0 <= p - q < near for e, c, q in places] for d, b, p in places])


@pytest.mark.parametrize("window", [None, 4])
def test_each_answer_sees_its_prompt_and_itself(window: int | None) -> None:
    torch.manual_seed(0)
    tokens = sum(map(sum, BRANCHES))
    query, key, value = (torch.randn(1, heads, tokens, 8, requires_grad=True) for heads in (4, 2, 2))
    lengths = tuple(map(sum, BRANCHES))
    ours, _ = _branch_attention(
        register(),
        torch.nn.Identity(),
        query,
        key,
        value,
        None,
        branches=BRANCHES,
        document_lengths=lengths,
        sliding_window=window,
    )
    scores = query @ key.repeat_interleave(2, 1).transpose(2, 3) / 8**0.5
    weights = scores.masked_fill(~seen(BRANCHES, window), -torch.inf).softmax(-1)
    theirs = (weights @ value.repeat_interleave(2, 1)).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    given = torch.randn_like(ours)
    for mine, other in zip(
        torch.autograd.grad(ours, (query, key, value), given, retain_graph=True),
        torch.autograd.grad(theirs, (query, key, value), given),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_what_does_not_branch_goes_the_way_it_went() -> None:
    from transformers import AttentionInterface

    name = register_branches(register())
    assert register_branches(name) == name
    shapes: list[Any] = [torch.randn(1, heads, 6, 8) for heads in (4, 2, 2)]
    plain, ours = (
        AttentionInterface()[one](torch.nn.Identity(), *shapes, None, document_lengths=(2, 4))[0]
        for one in (register(), name)
    )
    assert torch.equal(plain, ours)
