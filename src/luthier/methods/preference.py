"""Learning from pairs: DPO and its kin, which measure against a reference, and ORPO, SimPO and CPO, which do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from luthier.data.batch import Batch
from luthier.data.preference_batch import AnswerBatch, collate_judged
from luthier.data.tokens import Tokens
from luthier.methods.answers import FromAnswers, Likelihood, likelihood
from luthier.methods.likelihood_losses import contrast, odds_ratio, simpo
from luthier.methods.method import Loss
from luthier.methods.pair_losses import PAIR_LOSSES, Ratios
from luthier.methods.reference import Reference, Uniform


class FromPairs(FromAnswers):
    """What all of them share: the loss is the mean over pairs."""

    needs_reference = False
    reads_prompts = False
    """Whether the likelihood beside the loss is of the prompt's tokens as well."""

    def collate(self, items: Sequence[Tokens]) -> Batch:
        """Pairs end to end."""
        return collate_judged(items, shared=self.shared, prompts=self.reads_prompts)

    def loss(self, model: torch.nn.Module, batch: Batch) -> Loss:
        """The sum of the pairs' losses."""
        assert isinstance(batch, AnswerBatch), "collated by this method"
        found = likelihood(model, batch, chunked=self.chunked)
        losses, rewards = self.losses(model, batch, found)
        likely = -found.by_token[batch.answer % 2 == 0].mean()
        weight = self.nll_weight
        total = losses.sum() + (weight * batch.units * likely if weight else 0.0)
        sums = found.sums.detach()
        metrics = {**compared(rewards), "logps/chosen": sums[0::2].sum(), "logps/rejected": sums[1::2].sum()}
        if weight:
            metrics["nll"] = likely.detach() * batch.units
        return Loss(total, batch.units, metrics)

    @property
    def nll_weight(self) -> float:
        """Weight of the chosen answers' cross-entropy, which is the mean over all tokens of a micro-batch, as TRL's."""
        return self.settings.nll_weight or 0.0

    def losses(
        self, model: torch.nn.Module, batch: AnswerBatch, found: Likelihood
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(losses [pairs], rewards [2 x pairs], chosen and rejected by turns)."""
        raise NotImplementedError


class DirectPreference(FromPairs):
    """DPO (Rafailov et al. 2023), with ``method.loss`` in the place of its sigmoid."""

    needs_reference = True
    reference: Reference = Uniform()

    def losses(
        self, model: torch.nn.Module, batch: AnswerBatch, found: Likelihood
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of log-ratios to the reference."""
        ratios = found.sums - self.reference(model, batch, chunked=self.chunked)
        pairs = Ratios(
            ratios[0::2],
            ratios[1::2],
            found.tokens[0::2],
            found.tokens[1::2],
            self.settings.beta,
            self.settings.preference_smoothing,
        )
        return PAIR_LOSSES[self.kind](pairs), self.settings.beta * ratios.detach()

    @property
    def kind(self) -> str:
        """Which loss."""
        return self.settings.loss


class IdentityPreference(DirectPreference):
    """IPO (Azar et al. 2023)."""

    @property
    def kind(self) -> str:
        """IPO's own."""
        return "ipo"


class OddsRatio(FromPairs):
    """ORPO (Hong et al. 2024). Its likelihood is of prompt and answer, as in its authors' code and in TRL."""

    reads_prompts = True

    @property
    def nll_weight(self) -> float:
        """The likelihood is the loss, and the odds ratio its term."""
        return 1.0

    def losses(
        self, model: torch.nn.Module, batch: AnswerBatch, found: Likelihood
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of mean log-probabilities."""
        means, beta = found.means, self.settings.beta
        return odds_ratio(means[0::2], means[1::2], beta), beta * means.detach()


class SimplePreference(FromPairs):
    """SimPO (Meng et al. 2024)."""

    def losses(
        self, model: torch.nn.Module, batch: AnswerBatch, found: Likelihood
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of mean log-probabilities."""
        means, settings = found.means, self.settings
        losses = simpo(means[0::2], means[1::2], settings.beta, settings.margin, settings.preference_smoothing)
        return losses, settings.beta * means.detach()


class ContrastivePreference(FromPairs):
    """CPO (Xu et al. 2024)."""

    @property
    def nll_weight(self) -> float:
        """One, as in the paper, unless it is set."""
        return 1.0 if self.settings.nll_weight is None else self.settings.nll_weight

    def losses(
        self, model: torch.nn.Module, batch: AnswerBatch, found: Likelihood
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of summed log-probabilities; of means for ipo."""
        settings = self.settings
        values = found.means if settings.loss == "ipo" else found.sums
        losses = contrast(values[0::2], values[1::2], settings.beta, settings.loss, settings.preference_smoothing)
        return losses, settings.beta * values.detach()


def compared(rewards: torch.Tensor) -> Mapping[str, torch.Tensor]:
    """What is told of rewards [2 x pairs], chosen and rejected by turns: sums over pairs."""
    chosen, rejected = rewards[0::2], rewards[1::2]
    return {
        "rewards/chosen": chosen.sum(),
        "rewards/rejected": rejected.sum(),
        "rewards/margins": (chosen - rejected).sum(),
        "rewards/accuracies": (chosen > rejected).float().sum(),
    }
