"""The mean loss does not depend on how documents are packed."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
import torch
from transformers import AutoModelForCausalLM

from luthier.data.pipeline import prepare
from luthier.evaluate.loss import mean_loss
from luthier.methods.causal import SupervisedFineTuning
from luthier.model.attention import register
from luthier.recipe import Recipe
from tests.conftest import World


@pytest.mark.parametrize("capacity", [1, 64, 100_000])
def test_packing_changes_no_evaluation_loss(capacity: int, world: World) -> None:
    recipe = Recipe.model_validate_json(json.dumps(world.recipe()))
    store, _ = prepare(recipe, recipe.data.train, world.model)
    model = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation=register()).train()
    chosen = [0, 3, 5]
    with torch.no_grad():
        alone = [SupervisedFineTuning().loss(model.eval(), SupervisedFineTuning().collate([store[d]])) for d in chosen]
    model.train()
    loss, count, _ = mean_loss(
        model,
        SupervisedFineTuning(),
        store,
        chosen,
        capacity=capacity,
        device=torch.device("cpu"),
        autocast=nullcontext,
    )
    assert count == sum(one.count for one in alone)
    assert loss == pytest.approx(sum(float(one.total) for one in alone) / count, rel=1e-5)
    assert model.training
