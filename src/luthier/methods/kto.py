"""Learning from single answers that are wanted or not: KTO (Ethayarajh et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from luthier.data.batch import Batch
from luthier.data.preference_batch import AnswerBatch, collate_judged
from luthier.data.tokens import Tokens
from luthier.methods.answers import FromAnswers, likelihood
from luthier.methods.likelihood_losses import kahneman_tversky
from luthier.methods.method import Loss
from luthier.methods.reference import Reference, Uniform


class KahnemanTversky(FromAnswers):
    """KTO. The drift from the reference is estimated on each micro-batch from answers to other prompts: every prompt is
    also given the answer of the document before it (the first one the last's), whose log-ratios' mean, not below 0,
    it is. A document alone in its micro-batch is compared with its own answer.
    """

    needs_reference = True
    reference: Reference = Uniform()

    def collate(self, items: Sequence[Tokens]) -> Batch:
        """Prompts end to end, each with its own answer and another one's."""
        return collate_judged(items, shared=self.shared, mismatched=True)

    def loss(self, model: torch.nn.Module, batch: Batch) -> Loss:
        """The sum of the answers' losses; rewards are told of wanted and unwanted answers apart."""
        assert isinstance(batch, AnswerBatch), "collated by this method"
        found, settings = likelihood(model, batch, chunked=self.chunked), self.settings
        ratios = found.sums - self.reference(model, batch, chunked=self.chunked)
        own, drift = ratios[0::2], ratios[1::2].detach().mean().clamp(min=0)
        losses = kahneman_tversky(
            own, batch.good, drift, settings.beta, settings.desirable_weight, settings.undesirable_weight
        )
        rewards, sums = settings.beta * own.detach(), found.sums[0::2].detach()
        good, bad = batch.good, ~batch.good
        metrics = {
            "rewards/chosen": torch.stack([rewards[good].sum(), good.sum().float()]),
            "rewards/rejected": torch.stack([rewards[bad].sum(), bad.sum().float()]),
            "logps/chosen": torch.stack([sums[good].sum(), good.sum().float()]),
            "logps/rejected": torch.stack([sums[bad].sum(), bad.sum().float()]),
            "kl": drift * batch.units,
        }
        return Loss(losses.sum(), batch.units, metrics)
