"""Next-token prediction: pretraining learns every token, supervised fine-tuning the trained ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from luthier.data.batch import IGNORED, Batch, collate
from luthier.data.tokens import Tokens
from luthier.methods.cross_entropy import PLAIN, Terms, linear_cross_entropy, plain_cross_entropy
from luthier.methods.forward import outputs
from luthier.methods.method import Loss
from luthier.methods.output_layer import instead, output_layer
from luthier.recipe import Recipe


@dataclass(frozen=True, slots=True)
class SupervisedFineTuning:
    """Cross-entropy of the trained tokens given everything before them in their document.

    ``terms`` are those of training; evaluation is by cross-entropy alone, so that its loss compares. ``chunked`` is
    whether logits are made chunk by chunk where the output layer allows it.
    """

    terms: Terms = PLAIN
    chunked: bool = True

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """As a recipe has it."""
        method = recipe.method
        terms = Terms(method.label_smoothing, method.z_loss, method.weighting == "probability")
        return cls(terms, recipe.runtime.kernels.cross_entropy != "off")

    def collate(self, items: Sequence[Tokens]) -> Batch:
        """Documents end to end."""
        return collate(items)

    def loss(self, model: torch.nn.Module, batch: Batch) -> Loss:
        """The sum over trained tokens of ``-log p(token)``, or of what the terms make of it; only their logits are ever
        computed. With terms, the plain cross-entropy is reported beside it."""
        where = (batch.labels[0] != IGNORED).nonzero()[:, 0]
        labels, terms = batch.labels[0, where], self.terms if model.training else PLAIN
        layer = output_layer(model) if self.chunked else None
        if layer is None:
            sums = plain_cross_entropy(logits_at(model, batch, where), labels, terms)
        else:
            linear, head = layer
            with instead(
                linear, lambda hidden: linear_cross_entropy(hidden, linear.weight, linear.bias, labels, terms, head)
            ) as losses:
                outputs(model, batch, where)
                sums = losses()
        return Loss(sums[0], batch.targets, {"cross_entropy": sums[1].detach()} if terms else {})


class Pretrain(SupervisedFineTuning):
    """The same on plain documents, all of whose tokens are trained."""


def logits_at(model: torch.nn.Module, batch: Batch, where: torch.Tensor) -> torch.Tensor:
    """Logits [len(where), vocabulary] at some positions of a batch, documents isolated."""
    logits: torch.Tensor = outputs(model, batch, where).logits[0]
    return logits
