"""What is watched is what the optimiser steps on."""

from __future__ import annotations

import torch

from luthier.record.events import Watched
from luthier.train.watch import BINS, EVERY, Watch, spread


def looked_at(what: str, steps: int = 1) -> tuple[list[Watched], torch.Tensor, torch.nn.Linear]:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    start = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    told: list[Watched] = []
    done = [0]
    optimizer.register_step_pre_hook(Watch(model, what, lambda: done[0], told.append))
    for step in range(steps):
        done[0] = step
        optimizer.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    return told, start, model


def test_gradients_and_weights_are_counted_before_the_step() -> None:
    [told], start, model = looked_at("all")
    assert set(told.spreads) == {"parameters/weight", "gradients/weight"} and told.step == 1
    counts, edges = told.spreads["gradients/weight"]
    assert sum(counts) == 6 and (edges[0], edges[-1]) == (0.5, 1.5) and counts[BINS // 2] == 6
    assert told.spreads["parameters/weight"][1][0] == float(start.min()) != float(model.weight.detach().min())


def test_looks_are_rare_and_only_at_what_is_asked_for() -> None:
    told, _, _ = looked_at("gradients", 2 * EVERY)
    assert [one.step for one in told] == [1, EVERY, 2 * EVERY]
    assert set(told[0].spreads) == {"gradients/weight"}
    assert set(looked_at("parameters")[0][0].spreads) == {"parameters/weight"}


def test_what_is_not_finite_is_left_out() -> None:
    found = spread(torch.tensor([1.0, float("nan"), 3.0, float("inf")]))
    assert found is not None and sum(found[0]) == 2 and (found[1][0], found[1][-1]) == (1.0, 3.0)
    assert spread(torch.tensor([float("nan")])) is None
