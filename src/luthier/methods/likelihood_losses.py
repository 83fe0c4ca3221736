"""Losses of preference pairs without a reference: pure functions of the answers' log-probabilities [pairs]."""

from __future__ import annotations

import torch
from torch.nn.functional import logsigmoid


def odds_ratio(chosen: torch.Tensor, rejected: torch.Tensor, beta: float) -> torch.Tensor:
    """ORPO's term beside the likelihood of the chosen answer (Hong et al. 2024, eqs. 6 and 7).

    ``chosen`` and ``rejected`` are means over tokens; the odds are p / (1 - p).
    """
    log_odds = (chosen - rejected) - (log_of_rest(chosen) - log_of_rest(rejected))
    return -beta * logsigmoid(log_odds)


def log_of_rest(x: torch.Tensor) -> torch.Tensor:
    """log(1 - exp(x)) for x < 0, from whichever side is exact (Mächler 2012)."""
    near = x > -0.6931471805599453
    # Each branch gets a harmless number where it is not taken: an infinite gradient times zero is no number.
    return torch.where(
        near, torch.log(-torch.expm1(torch.where(near, x, -0.5))), torch.log1p(-torch.exp(torch.where(near, -1.0, x)))
    )


def simpo(
    chosen: torch.Tensor, rejected: torch.Tensor, beta: float, margin: float, smoothing: float = 0.0
) -> torch.Tensor:
    """SimPO (Meng et al. 2024, eq. 6): means over tokens, and a margin gamma between the rewards."""
    scaled = beta * (chosen - rejected) - margin
    return -(1 - smoothing) * logsigmoid(scaled) - smoothing * logsigmoid(-scaled)


def contrast(
    chosen: torch.Tensor, rejected: torch.Tensor, beta: float, loss: str = "sigmoid", smoothing: float = 0.0
) -> torch.Tensor:
    """CPO's contrast (Xu et al. 2024, eq. 3): DPO whose reference is uniform; ``loss`` as DPO's, with ipo on means.

    Its other term is the likelihood of the chosen answer.
    """
    scaled = beta * (chosen - rejected)
    if loss == "hinge":
        return torch.relu(1 - scaled)
    if loss == "ipo":
        return (chosen - rejected - 1 / (2 * beta)) ** 2
    return -(1 - smoothing) * logsigmoid(scaled) - smoothing * logsigmoid(-scaled)


def kahneman_tversky(
    ratios: torch.Tensor, good: torch.Tensor, divergence: torch.Tensor, beta: float, wanted: float, unwanted: float
) -> torch.Tensor:
    """KTO (Ethayarajh et al. 2024, eqs. 7 and 8): the value of each answer against the model's own drift.

    Args:
        ratios: log-ratios to the reference [answers]; ``good`` whether each is wanted.
        divergence: the batch's estimate of the drift, not below 0, through which no gradient goes.
        wanted, unwanted: weights of the two kinds.
    """
    gain = torch.where(good, ratios - divergence, divergence - ratios)
    return torch.where(good, wanted, unwanted) * (1 - torch.sigmoid(beta * gain))


def bradley_terry(chosen: torch.Tensor, rejected: torch.Tensor, centre: float = 0.0) -> torch.Tensor:
    """A reward model's loss (Bradley & Terry 1952; Ouyang et al. 2022, eq. 1), with rewards held near zero (Eisenstein
    et al. 2023, arXiv 2312.09244) as strongly as ``centre`` says."""
    return -logsigmoid(chosen - rejected) + centre * (chosen + rejected) ** 2
