"""Losses of pairs without a reference, and of single answers, by hand."""

from __future__ import annotations

from math import exp, log, log1p

import pytest
import torch

from luthier.methods.likelihood_losses import (
    bradley_terry,
    contrast,
    kahneman_tversky,
    log_of_rest,
    odds_ratio,
    simpo,
)


def log_sigmoid(x: float) -> float:
    return -log1p(exp(-x))


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64, requires_grad=True)


def test_the_odds_ratio_by_hand() -> None:
    odds = log((0.5 / 0.5) / (0.2 / 0.8))
    assert odds_ratio(one(log(0.5)), one(log(0.2)), 0.3).item() == pytest.approx(-0.3 * log_sigmoid(odds))


@pytest.mark.parametrize("x", [-1e-9, -1e-4, -0.5, -0.7, -20.0, -200.0])
def test_what_is_left_of_a_probability_keeps_its_digits_and_its_gradient(x: float) -> None:
    from decimal import Decimal, getcontext

    getcontext().prec = 120
    exact = float((1 - Decimal(x).exp()).ln())
    given = one(x)
    found = log_of_rest(given)
    found.sum().backward()
    assert found.item() == pytest.approx(exact, rel=1e-12)
    assert given.grad is not None and torch.isfinite(given.grad).all()


def test_simpo_leads_by_its_margin() -> None:
    assert simpo(one(-1.0), one(-2.0), 2.0, 0.5).item() == pytest.approx(-log_sigmoid(2.0 - 0.5))
    assert simpo(one(-1.0), one(-1.0), 2.0, 0.0).item() == pytest.approx(log(2))


def test_cpo_and_its_variants() -> None:
    assert contrast(one(-1.0), one(-3.0), 0.5).item() == pytest.approx(-log_sigmoid(1.0))
    assert contrast(one(-1.0), one(-2.0), 0.5, "hinge").item() == pytest.approx(0.5)
    assert contrast(one(-1.0), one(-3.0), 0.5, "ipo").item() == pytest.approx(1.0)


def test_kto_weighs_gains_and_losses_against_the_drift() -> None:
    ratios = torch.tensor([2.0, 2.0])
    found = kahneman_tversky(ratios, torch.tensor([True, False]), torch.tensor(0.5), 0.4, 0.7, 1.3)
    assert found.tolist() == pytest.approx([0.7 * (1 - exp(log_sigmoid(0.6))), 1.3 * (1 - exp(log_sigmoid(-0.6)))])


def test_a_reward_is_held_near_zero() -> None:
    assert bradley_terry(one(1.0), one(0.0)).item() == pytest.approx(-log_sigmoid(1.0))
    assert bradley_terry(one(1.0), one(2.0), 0.1).item() == pytest.approx(-log_sigmoid(-1.0) + 0.9)
