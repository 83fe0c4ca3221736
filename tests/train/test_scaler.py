"""The loss scale of fp16: it falls with an overflow, and goes on where it was."""

from __future__ import annotations

import torch

from luthier.train.scaler import Scaler


def step(scaler: Scaler, factor: float) -> torch.nn.Parameter:
    """One scaled backward pass of a loss whose gradient is ``factor``; the gradient is unscaled again."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scaler.scaled((weight * factor).sum()).backward()
    scaler.unscale(optimizer)
    scaler.update()
    return weight


def test_gradients_come_back_unscaled() -> None:
    grad = step(Scaler("cpu"), 0.25).grad
    assert grad is not None and torch.equal(grad, torch.full((3,), 0.25))


def test_an_overflow_halves_the_scale_until_it_cannot_be_its_fault() -> None:
    scaler = Scaler("cpu", scale=4.0)
    assert scaler.can_fall
    for expected in (2.0, 1.0):
        step(scaler, float("inf"))
        assert scaler.state()["scale"] == expected
    assert not scaler.can_fall


def test_a_kept_state_is_gone_on_from() -> None:
    one, other = Scaler("cpu", scale=8.0), Scaler("cpu")
    step(one, float("inf"))
    step(one, 1.0)
    other.restore(one.state())
    step(one, 1.0)
    step(other, 1.0)
    assert other.state() == one.state()
    assert other.state()["scale"] == 4.0 and other.state()["_growth_tracker"] == 2
