"""Losses of pairs against a reference, by hand."""

from __future__ import annotations

from math import exp, log, log1p

import pytest
import torch

from luthier.methods.pair_losses import PAIR_LOSSES, Ratios


def ratios(chosen: float, rejected: float, beta: float = 0.1, smoothing: float = 0.0, **tokens: int) -> Ratios:
    one = [torch.tensor([value], dtype=torch.float64, requires_grad=True) for value in (chosen, rejected)]
    many = [torch.tensor([tokens.get(name, 1)]) for name in ("chosen_tokens", "rejected_tokens")]
    return Ratios(one[0], one[1], many[0], many[1], beta, smoothing)


def log_sigmoid(x: float) -> float:
    return -log1p(exp(-x))


@pytest.mark.parametrize("beta", [0.05, 0.1, 2.0])
def test_dpo_begins_at_ln_2(beta: float) -> None:
    for smoothing in (0.0, 0.2):
        assert PAIR_LOSSES["sigmoid"](ratios(0.0, 0.0, beta, smoothing)).item() == pytest.approx(log(2), abs=1e-12)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("sigmoid", -log_sigmoid(0.5)),
        ("hinge", 0.5),
        ("ipo", (3.0 / 2 - (-2.0) / 4 - 5.0) ** 2),
        ("nca_pair", -log_sigmoid(0.3) - 0.5 * log_sigmoid(-0.3) - 0.5 * log_sigmoid(0.2)),
        ("bco_pair", -log_sigmoid(0.3) - log_sigmoid(0.2)),
        ("sppo_hard", (3.0 - 5.0) ** 2 + (-2.0 + 5.0) ** 2),
        ("apo_zero", 1 - exp(log_sigmoid(0.3)) + exp(log_sigmoid(-0.2))),
        ("apo_down", exp(log_sigmoid(0.3)) + 1 - exp(log_sigmoid(0.5))),
        ("sigmoid_norm", -log_sigmoid(0.1 * (3.0 / 2 + 2.0 / 4))),
    ],
)
def test_each_loss_by_hand(loss: str, expected: float) -> None:
    found = PAIR_LOSSES[loss](ratios(3.0, -2.0, chosen_tokens=2, rejected_tokens=4))
    assert found.item() == pytest.approx(expected, abs=1e-12)


def test_smoothing_by_hand() -> None:
    right, wrong = -log_sigmoid(0.5), -log_sigmoid(-0.5)
    given = ratios(3.0, -2.0, smoothing=0.1)
    assert PAIR_LOSSES["sigmoid"](given).item() == pytest.approx(0.9 * right + 0.1 * wrong)
    assert PAIR_LOSSES["robust"](given).item() == pytest.approx((0.9 * right - 0.1 * wrong) / 0.8)
    share = exp(-right)
    expected = share * (-right - log(0.9)) + (1 - share) * (-wrong - log(0.1))
    assert PAIR_LOSSES["exo_pair"](given).item() == pytest.approx(expected)


def test_dpo_s_gradient_is_beta_times_how_wrong_it_is() -> None:
    given = ratios(3.0, -2.0)
    PAIR_LOSSES["sigmoid"](given).sum().backward()
    wrong = 1 / (1 + exp(0.5))
    assert given.chosen.grad is not None and given.rejected.grad is not None
    assert given.chosen.grad.item() == pytest.approx(-0.1 * wrong)
    assert given.rejected.grad.item() == pytest.approx(0.1 * wrong)
