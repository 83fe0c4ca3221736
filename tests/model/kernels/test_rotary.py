"""Rotary positions in one function: the same outputs and gradients as the models' own words."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from transformers.models.llama import modeling_llama

from luthier.model.kernels.rotary import fuse_rotary
from tests.model.kernels.models import assert_same_training, tiny

COUNTS = {"llama": 2, "mistral": 2, "qwen2": 2, "qwen3": 2, "gemma": 2, "glm": 0, "gpt_neox": 2}


@pytest.mark.parametrize("architecture", COUNTS)
def test_loss_and_every_gradient_are_those_of_the_models_own_words(architecture: str) -> None:
    model = tiny(architecture)
    fused = copy.deepcopy(model)
    assert fuse_rotary(fused) == COUNTS[architecture]  # GPT-NeoX turns a part of each head and keeps its own words
    assert_same_training(model, fused)


def test_one_model_is_changed_and_its_class_and_copies_are_not() -> None:
    model = tiny("llama")
    layer = model.model.layers[0].self_attn
    before, function = type(layer).forward, modeling_llama.apply_rotary_pos_emb
    assert fuse_rotary(model) == 2
    assert type(layer).forward is before and modeling_llama.apply_rotary_pos_emb is function
    assert "forward" not in vars(tiny("llama").model.layers[0].self_attn)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.model.layers[0].self_attn.q_proj.weight.zero_()
    assert_same_training(model, copy.deepcopy(model))
    with pytest.raises(AssertionError):
        assert_same_training(model, other)


def test_under_autocast_heads_stay_in_the_compute_type_and_near_fp32() -> None:
    model = tiny("llama")
    fuse_rotary(model)
    turn = model.model.layers[0].self_attn.forward.__func__.__globals__["apply_rotary_pos_emb"]
    chance = torch.Generator().manual_seed(0)
    cos, sin = torch.randn(2, 1, 7, 8, generator=chance)
    given = torch.randn(1, 7, 4, 8, generator=chance)
    results = []
    for function, kind in ((modeling_llama.apply_rotary_pos_emb, torch.float32), (turn, torch.bfloat16)):
        heads = given.to(kind, copy=True).requires_grad_()
        query, key = function(heads.transpose(1, 2), heads.transpose(1, 2), cos, sin)
        (query * 2 + key).backward(torch.ones_like(query))
        results.append((query, heads.grad))
    assert results[1][0].dtype is torch.bfloat16 and results[1][0].is_contiguous()
    for theirs, ours in zip(*results, strict=True):
        assert theirs is not None and ours is not None
        torch.testing.assert_close(ours.float(), theirs, rtol=2e-2, atol=4e-2)


def crooked(query: Any, key: Any, cos: Any, sin: Any, unsqueeze_dim: int = 1) -> Any:
    return query * cos.unsqueeze(unsqueeze_dim), key


class Crooked(nn.Module):
    """Attention that turns its heads in a way of its own."""

    def forward(self, hidden: torch.Tensor, cos: torch.Tensor) -> torch.Tensor:
        query: torch.Tensor = apply_rotary_pos_emb(hidden, hidden, cos, cos)[0]
        return query


apply_rotary_pos_emb = crooked


def test_what_turns_otherwise_is_left_alone() -> None:
    assert fuse_rotary(Crooked()) == 0
