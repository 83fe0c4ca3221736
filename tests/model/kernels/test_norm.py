"""RMSNorm in one function: the same outputs and gradients as the models' own words."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from luthier.model.kernels.norm import form_of, fuse_norms
from tests.model.kernels.models import assert_same_training, loss_and_gradients, tiny

COUNTS = {"llama": 5, "qwen3": 9, "gemma": 5, "gemma2": 9, "glm": 5}


@pytest.mark.parametrize("architecture", COUNTS)
def test_loss_and_every_gradient_are_those_of_the_models_own_norm(architecture: str) -> None:
    changes = {"attn_logit_softcapping": None} if architecture == "gemma2" else {}
    model = tiny(architecture, "eager", **changes)
    fused = copy.deepcopy(model)
    assert fuse_norms(fused) == COUNTS[architecture]
    assert_same_training(model, fused)


@pytest.mark.parametrize(("architecture", "offset"), [("llama", 0.0), ("gemma", 1.0)])
def test_the_two_forms_are_told_apart_by_what_they_compute(architecture: str, offset: float) -> None:
    norm = tiny(architecture).model.norm
    assert form_of(norm) == (1e-6, offset)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("held", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ["llama", "gemma"])
def test_types_and_numbers_are_kept_in_every_mixture(architecture: str, held: torch.dtype, kind: torch.dtype) -> None:
    norm = tiny(architecture).model.norm.to(held)
    fused = copy.deepcopy(norm)
    assert fuse_norms(fused) == 1
    torch.manual_seed(2)
    outputs, gradients = [], []
    for module in (norm, fused):
        hidden = torch.linspace(-3, 5, 96).sin().view(1, 3, 32).to(kind).requires_grad_()
        output = module(hidden)
        output.backward(torch.linspace(-1, 1, 96).view(1, 3, 32).to(output.dtype))
        outputs.append(output)
        gradients.append((hidden.grad, module.weight.grad))
    assert outputs[0].dtype == outputs[1].dtype
    far = 1e-5 if kind is held is torch.float32 else 3e-2
    torch.testing.assert_close(outputs[1], outputs[0], rtol=far, atol=far)
    for ours, theirs in zip(gradients[1], gradients[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=far, atol=far)


@pytest.mark.parametrize(("architecture", "narrow"), [("llama", 4), ("qwen3", 4), ("gemma2", 0), ("glm4", 0)])
def test_under_autocast_what_feeds_linear_layers_alone_has_their_type(architecture: str, narrow: int) -> None:
    """Gemma 2 and GLM-4 norm what goes into the residual stream as well."""
    model = tiny(architecture, "eager", **({"attn_logit_softcapping": None} if architecture == "gemma2" else {}))
    fused = copy.deepcopy(model)
    fuse_norms(fused)
    exact = loss_and_gradients(model)[1]
    off, kinds = [], []
    for one in (model, fused):
        seen: list[torch.dtype] = []
        for name, module in one.named_modules():
            if name.endswith("layernorm"):
                module.register_forward_hook(lambda module, args, output, seen=seen: seen.append(output.dtype))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = loss_and_gradients(one)[1]
        off.append(max(float((found[name] - grad).norm() / grad.norm()) for name, grad in exact.items()))
        kinds.append(seen)
    assert sum(ours is not theirs for theirs, ours in zip(*kinds, strict=True)) == narrow
    assert off[1] < 1.25 * off[0]


def test_only_its_input_is_kept_for_the_backward_pass() -> None:
    model = tiny("llama")
    hidden = torch.randn(1, 7, 32, requires_grad=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one.numel()) or one, lambda one: one):
        fuse_norms(model)
        model.model.norm(hidden)
    assert sorted(kept) == [7, 32, 7 * 32]


class HalfRMSNorm(nn.Module):
    """Called a norm, and another formula."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(8)), 1e-6

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return 0.5 * self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.eps)


def test_what_computes_something_else_is_left_alone() -> None:
    assert fuse_norms(HalfRMSNorm()) == fuse_norms(nn.LayerNorm(8)) == 0
