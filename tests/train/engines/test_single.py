"""One device: clipping, TF32, and frozen weights in the compute type."""

from __future__ import annotations

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from luthier.model.attention import register
from luthier.recipe import Recipe
from luthier.train.engines.single import SingleDevice, narrow_frozen
from tests.conftest import World


def engine(world: World, **sections: object) -> SingleDevice:
    made = SingleDevice(Recipe.model_validate_json(json.dumps(world.recipe(**sections))))
    torch.set_num_threads(1)
    return made


@pytest.mark.parametrize(("asked", "there"), [(True, "high"), (False, "highest"), (None, "medium")])
def test_tf32_is_as_asked_and_left_alone_otherwise(world: World, asked: bool | None, there: str) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        engine(world, precision={"tf32": asked, "compute": "fp32"})
        assert torch.get_float32_matmul_precision() == there
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(("size", "after"), [(3.0, 1.0), (0.5, 0.5)])
def test_gradients_are_scaled_down_to_the_largest_norm_and_never_up(world: World, size: float, after: float) -> None:
    layer = torch.nn.Linear(4, 4)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter) * size / 20**0.5
    before = engine(world).clip(layer, 1.0)
    norm = torch.cat([p.grad.flatten() for p in layer.parameters() if p.grad is not None]).norm()
    assert before == pytest.approx(size, rel=1e-5)
    assert float(norm) == pytest.approx(after, rel=1e-4)


def test_gradients_that_are_not_finite_are_told_and_left_alone(world: World) -> None:
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.grad = torch.tensor([[1.0, float("inf")]])
    assert engine(world).clip(layer, 1.0) == float("inf")
    assert layer.weight.grad.tolist() == [[1.0, float("inf")]]


def test_frozen_weights_in_the_compute_type_change_nothing(world: World) -> None:
    """Autocast rounds them so in every use; losses and gradients are equal bit by bit."""

    def outcome(narrow: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation=register())
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear"))
        if narrow:
            narrow_frozen(model, torch.bfloat16)
            kinds = {name: one.dtype for name, one in model.named_parameters()}
            assert {kind for name, kind in kinds.items() if "proj.base_layer" in name} == {torch.bfloat16}
            assert {kind for name, kind in kinds.items() if "proj.base_layer" not in name} == {torch.float32}
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=torch.arange(3, 19)[None], document_lengths=(16,)).logits.float().logsumexp(-1).sum()
        loss.backward()
        return loss.detach(), [one.grad for one in model.parameters() if one.grad is not None]

    (expected, theirs), (found, ours) = outcome(narrow=False), outcome(narrow=True)
    assert torch.equal(found, expected)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert any(one.any() for one in ours)
