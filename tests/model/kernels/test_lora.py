"""LoRA's layer in one function: PEFT's numbers and gradients."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from luthier.model.kernels.lora import fuse_lora
from tests.model.kernels.models import assert_same_training, loss_and_gradients, tiny

LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapted(changes: dict[str, Any] | None = None, **settings: Any) -> PeftModel:
    """A Llama of two layers with an adapter whose every number is away from what it begins as."""
    model = tiny("llama", **(changes or {}))
    config = LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": LAYERS, "task_type": "CAUSAL_LM", **settings})
    wrapped = get_peft_model(model, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    assert isinstance(wrapped, PeftModel)
    return wrapped


def pair(model: PeftModel, count: int = 14) -> tuple[Any, Any]:
    """The model as PEFT has it, and with its layers fused."""
    fused = copy.deepcopy(model)
    assert fuse_lora(fused) == count
    return model.get_base_model(), fused.get_base_model()


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({}, {}),
        ({}, {"use_rslora": True}),
        ({"attention_bias": True}, {"bias": "all"}),
        ({}, {"rank_pattern": {"q_proj": 2}}),
    ],
    ids=str,
)
def test_loss_and_every_gradient_are_pefts(changes: dict[str, Any], settings: dict[str, Any]) -> None:
    assert_same_training(*pair(adapted(changes, **settings)))


def test_dropout_drops_what_peft_drops() -> None:
    plain, fused = pair(adapted(lora_dropout=0.5))
    assert_same_training(plain.train(), fused.train())
    dropped = loss_and_gradients(fused)[0]
    assert_same_training(plain.eval(), fused.eval())
    assert loss_and_gradients(fused)[0] != dropped


def test_under_autocast_it_is_as_near_to_fp32_as_peft_is() -> None:
    plain, fused = pair(adapted())
    exact = loss_and_gradients(plain)[1]
    off = []
    for model in (plain, fused):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = loss_and_gradients(model)[1]
        assert found.keys() == exact.keys()
        off.append(max(float((found[name] - one).norm() / one.norm()) for name, one in exact.items()))
    assert off[1] < 1.25 * off[0] and off[1] < 0.1


def test_adapters_that_are_off_or_merged_go_pefts_way() -> None:
    model = adapted().eval()
    fused = copy.deepcopy(model)
    fuse_lora(fused)
    ids = torch.arange(3, 12)[None]
    given = {"input_ids": ids, "position_ids": torch.arange(9)[None], "use_cache": False, "document_lengths": (9,)}
    with torch.no_grad():
        on = fused(**given).logits
        with fused.disable_adapter(), model.disable_adapter():
            torch.testing.assert_close(fused(**given).logits, model(**given).logits)
            assert not torch.allclose(fused(**given).logits, on)
        fused.merge_adapter()
        torch.testing.assert_close(fused(**given).logits, on, rtol=1e-4, atol=1e-4)


def test_the_input_and_the_small_product_are_all_that_is_kept() -> None:
    model = adapted()
    fuse_lora(model)
    layer = model.get_base_model().model.layers[0].mlp.down_proj
    weights = {one.data_ptr() for one in layer.parameters()}
    hidden = torch.randn(1, 7, 48, requires_grad=True)
    kept: list[int] = []

    def keep(one: torch.Tensor) -> torch.Tensor:
        kept.extend([one.numel()] if one.data_ptr() not in weights else [])
        return one

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one):
        layer(hidden)
    assert sorted(kept) == [7 * 4, 7 * 48]


def test_dora_is_left_alone() -> None:
    assert fuse_lora(adapted(use_dora=True)) == 0
