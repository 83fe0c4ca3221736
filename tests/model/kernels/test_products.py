"""Products of linear layers through oneDNN: the same outputs and gradients as PyTorch's own, and who takes them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from luthier.model.kernels.lora import fuse_lora
from luthier.model.kernels.products import LEAST_ROWS, ONEDNN, _Linear, use_onednn
from tests.model.kernels.models import assert_same_training, loss_and_gradients, tiny

LONG = (LEAST_ROWS, 9)


def calls(model: Any) -> list[str]:
    """What a training step of a model calls on the processor."""
    with torch.profiler.profile() as taken:
        loss_and_gradients(model, LONG)
    return [event.name for event in taken.events() or []]


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "glm", "gpt_neox", "mixtral"])
def test_loss_and_every_gradient_are_those_of_pytorchs_products(architecture: str) -> None:
    model = tiny(architecture)
    other = copy.deepcopy(model)
    layers = [one for one in model.modules() if type(one) is nn.Linear]
    assert use_onednn(other) == len(layers) > 0 and use_onednn(other) == 0
    assert_same_training(model, other)
    plain, ours = (loss_and_gradients(one, LONG)[1] for one in (model, other))
    for name, gradient in plain.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-5, atol=1e-5, msg=name)
    # Forward if a layer narrows, to its input if it widens, both if it does neither; the head may go its own way.
    suited = sum(1 + (one.in_features == one.out_features) for one in layers)
    assert suited - 1 <= calls(other).count("mkldnn::_linear_pointwise") <= suited
    assert "mkldnn::_linear_pointwise" not in calls(model)


@pytest.mark.parametrize("targets", [["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "o_proj", "down_proj"]])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_loras_layers_multiply_so_too(targets: list[str], dropout: float) -> None:
    model = get_peft_model(tiny("llama"), LoraConfig(r=4, target_modules=targets, lora_dropout=dropout))
    for name, one in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(one, std=0.1)
    plain, other = copy.deepcopy(model), copy.deepcopy(model)
    siblings = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
    fuse_lora(plain, siblings)
    fuse_lora(other, siblings, ONEDNN)
    (first, theirs), (second, ours) = (loss_and_gradients(one, LONG) for one in (plain, other))
    assert first == pytest.approx(second, rel=1e-6) and theirs.keys() == ours.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-5, atol=1e-5, msg=name)
    assert "mkldnn::_linear_pointwise" in calls(other) and "mkldnn::_linear_pointwise" not in calls(plain)


def test_a_bias_rows_of_any_order_and_frozen_sides() -> None:
    torch.manual_seed(0)
    rows = torch.randn(7, 2 * LEAST_ROWS, 5).transpose(0, 1).requires_grad_()
    layer = nn.Linear(5, 3)
    for frozen in (False, True):
        layer.weight.requires_grad_(not frozen)
        wanted = [one for one in (rows, layer.weight, layer.bias) if one.requires_grad]
        given = torch.randn(2 * LEAST_ROWS, 7, 3)
        results = [
            torch.autograd.grad(output, wanted, given)
            for output in (_Linear.apply(rows, layer.weight, layer.bias), layer(rows))  # type: ignore[no-untyped-call]
        ]
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_few_rows_and_other_types_go_pytorchs_way() -> None:
    model = tiny("llama")
    use_onednn(model)
    with torch.profiler.profile() as taken:
        loss_and_gradients(model, (9, 5))
        with torch.autocast("cpu", torch.bfloat16):
            loss_and_gradients(model, LONG)
        loss_and_gradients(model.bfloat16(), LONG)
    assert not [event.name for event in taken.events() or [] if "pointwise" in event.name]


def test_a_copy_has_layers_of_its_own() -> None:
    model = tiny("llama")
    use_onednn(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.lm_head.weight.zero_()
    assert loss_and_gradients(other)[0] != loss_and_gradients(model)[0]
