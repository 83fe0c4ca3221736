"""Learning rates are those of transformers' own schedules."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import get_scheduler

from luthier.recipe import Recipe
from luthier.train.schedule import learning_rates, warmup_steps


def recipe(kind: str, **schedule: object) -> Recipe:
    return Recipe.model_validate_json(json.dumps({"schedule": {"kind": kind, **schedule}, "optimizer": {"lr": 0.1}}))


@pytest.mark.parametrize("warm", [0, 1, 7])
@pytest.mark.parametrize(
    ("ours", "theirs"), [("cosine", "cosine"), ("linear", "linear"), ("constant", "constant_with_warmup")]
)
def test_rates_equal_transformers(ours: str, theirs: str, warm: int) -> None:
    total = 40
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = get_scheduler(theirs, optimizer, num_warmup_steps=warm, num_training_steps=total)
    rate = learning_rates(recipe(ours, warmup_steps=warm), total)
    for step in range(total):
        assert rate(step) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        scheduler.step()


def test_a_share_of_warm_up_is_rounded_up() -> None:
    assert warmup_steps(recipe("cosine", warmup_share=0.03).schedule, 101) == 4
    assert warmup_steps(recipe("cosine", warmup_steps=5, warmup_share=0.5).schedule, 101) == 5
    assert warmup_steps(recipe("cosine", warmup_steps=500).schedule, 101) == 101


def test_the_minimum_is_where_the_curve_ends() -> None:
    rate = learning_rates(recipe("linear", warmup_steps=0, minimum=0.1), 10)
    assert rate(0) == pytest.approx(0.1)
    assert rate(10) == pytest.approx(0.01)
