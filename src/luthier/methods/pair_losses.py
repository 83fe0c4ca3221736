"""Losses of preference pairs against a reference: pure functions of how much likelier each answer has become.

``chosen`` and ``rejected`` [pairs] are log-ratios ``log p(answer) - log p_ref(answer)``, summed over the answer's
tokens; ``beta`` is how strongly the reference holds. Each returns the pairs' losses [pairs].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, log1p

import torch
from torch.nn.functional import logsigmoid


@dataclass(frozen=True, slots=True)
class Ratios:
    """Log-ratios of pairs, the answers' lengths in tokens, and the constants of a loss; ``smoothing`` is the share of
    pairs taken to be judged the wrong way round."""

    chosen: torch.Tensor
    rejected: torch.Tensor
    chosen_tokens: torch.Tensor
    rejected_tokens: torch.Tensor
    beta: float
    smoothing: float = 0.0

    @property
    def scaled(self) -> torch.Tensor:
        """beta times the difference."""
        return self.beta * (self.chosen - self.rejected)

    @property
    def by_token(self) -> torch.Tensor:
        """The difference of the ratios' means over the answers' tokens."""
        return self.chosen / self.chosen_tokens.clamp(min=1) - self.rejected / self.rejected_tokens.clamp(min=1)


def sigmoid(r: Ratios) -> torch.Tensor:
    """DPO (Rafailov et al. 2023, eq. 7); with smoothing the conservative one (Mitchell 2023)."""
    return -(1 - r.smoothing) * logsigmoid(r.scaled) - r.smoothing * logsigmoid(-r.scaled)


def hinge(r: Ratios) -> torch.Tensor:
    """SLiC's hinge (Zhao et al. 2023, arXiv 2305.10425) on log-ratios (RSO, Liu et al. 2023, arXiv 2309.06657)."""
    return torch.relu(1 - r.scaled)


def ipo(r: Ratios) -> torch.Tensor:
    """IPO (Azar et al. 2023, eq. 17), of means over tokens, as its authors computed it."""
    return (r.by_token - 1 / (2 * r.beta)) ** 2


def robust(r: Ratios) -> torch.Tensor:
    """DPO, unbiased where judgements are wrong as often as smoothing says (Chowdhury et al. 2024, arXiv 2403.00409)."""
    right, wrong = -logsigmoid(r.scaled), -logsigmoid(-r.scaled)
    return ((1 - r.smoothing) * right - r.smoothing * wrong) / (1 - 2 * r.smoothing)


def exo_pair(r: Ratios) -> torch.Tensor:
    """EXO: the reverse divergence from the smoothed judgement (Ji et al. 2024, arXiv 2402.00856, eq. 16)."""
    win, lose = logsigmoid(r.scaled), logsigmoid(-r.scaled)
    smoothing = r.smoothing or 1e-3
    return win.exp() * (win - log1p(-smoothing)) + lose.exp() * (lose - log(smoothing))


def nca_pair(r: Ratios) -> torch.Tensor:
    """NCA, which holds the chosen answer's likelihood up by itself (Chen et al. 2024, arXiv 2402.05369)."""
    chosen, rejected = r.beta * r.chosen, r.beta * r.rejected
    return -logsigmoid(chosen) - 0.5 * logsigmoid(-chosen) - 0.5 * logsigmoid(-rejected)


def bco_pair(r: Ratios) -> torch.Tensor:
    """Binary classification of the answers, without a shift of the reward (Jung et al. 2024, arXiv 2404.04656)."""
    return -logsigmoid(r.beta * r.chosen) - logsigmoid(-r.beta * r.rejected)


def sppo_hard(r: Ratios) -> torch.Tensor:
    """Self-play preference optimisation with certain judgements (Wu et al. 2024, arXiv 2405.00675, eq. 4.7)."""
    return (r.chosen - 0.5 / r.beta) ** 2 + (r.rejected + 0.5 / r.beta) ** 2


def apo_zero(r: Ratios) -> torch.Tensor:
    """APO for answers that are better than the model's own (D'Oosterlinck et al. 2024, arXiv 2408.06266, eq. 7)."""
    return 1 - torch.sigmoid(r.beta * r.chosen) + torch.sigmoid(r.beta * r.rejected)


def apo_down(r: Ratios) -> torch.Tensor:
    """APO for answers that are worse than the model's own (the same, eq. 8)."""
    return torch.sigmoid(r.beta * r.chosen) + 1 - torch.sigmoid(r.scaled)


def sigmoid_norm(r: Ratios) -> torch.Tensor:
    """DPO of means over tokens (Lambert et al. 2024, Tulu 3, arXiv 2411.15124)."""
    return -logsigmoid(r.beta * r.by_token)


PAIR_LOSSES: dict[str, Callable[[Ratios], torch.Tensor]] = {
    one.__name__: one
    for one in (
        sigmoid,
        hinge,
        ipo,
        robust,
        exo_pair,
        nca_pair,
        bco_pair,
        sppo_hard,
        apo_zero,
        apo_down,
        sigmoid_norm,
    )
}
