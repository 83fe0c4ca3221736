"""The optimiser: decoupled decay that spares biases and norms."""

from __future__ import annotations

import json

import torch

from luthier.recipe import Recipe
from luthier.train.optimizer import build_optimizer


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.norm = torch.nn.LayerNorm(2)
        self.frozen = torch.nn.Linear(2, 2)
        self.frozen.requires_grad_(False)


def recipe(**optimizer: object) -> Recipe:
    return Recipe.model_validate_json(json.dumps({"optimizer": optimizer}))


def test_decay_spares_biases_and_norms_and_frozen_weights_are_left_out() -> None:
    optimizer = build_optimizer(Small(), recipe(weight_decay=0.1))
    decay = {name: group["weight_decay"] for group in optimizer.param_groups for name in group["names"]}
    assert decay == {"linear.weight": 0.1, "linear.bias": 0.0, "norm.weight": 0.0, "norm.bias": 0.0}


def test_decay_is_decoupled_from_the_gradient() -> None:
    """With a zero gradient AdamW shrinks weights by lr x decay; an L2 term would move them by about lr."""
    model = Small()
    optimizer = build_optimizer(model, recipe(lr=0.01, weight_decay=0.1))
    before = model.linear.weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model.linear.weight, before * (1 - 0.01 * 0.1))


def test_constants_reach_adamw() -> None:
    group = build_optimizer(
        Small(), recipe(lr=0.5, beta1=0.8, beta2=0.95, epsilon=1e-6, args={"amsgrad": True})
    ).param_groups[0]
    assert (group["lr"], group["betas"], group["eps"], group["amsgrad"]) == (0.5, (0.8, 0.95), 1e-6, True)


def test_sgd_takes_its_own_arguments() -> None:
    optimizer = build_optimizer(Small(), recipe(kind="sgd", args={"momentum": 0.9}))
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["momentum"] == 0.9
