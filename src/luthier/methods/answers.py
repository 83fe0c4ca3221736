"""Log-probabilities of the answers of a batch, and what objectives made of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch.nn.functional import cross_entropy

from luthier.data.preference_batch import AnswerBatch
from luthier.methods.forward import outputs
from luthier.methods.log_probabilities import linear_log_probabilities
from luthier.methods.output_layer import instead, output_layer
from luthier.recipe import Recipe
from luthier.recipe.method import Method as Settings


@dataclass(frozen=True, slots=True)
class Likelihood:
    """``sums`` [A] of each answer's log-probabilities; ``tokens`` [A], its length; ``by_token`` [n], each token's."""

    sums: torch.Tensor
    tokens: torch.Tensor
    by_token: torch.Tensor

    @property
    def means(self) -> torch.Tensor:
        """Mean log-probability of a token of each answer [A]."""
        return self.sums / self.tokens


class FromAnswers:
    """What all that learn from likelihoods of answers share: ``shared`` is whether a prompt is computed once, and
    ``chunked`` whether logits are made chunk by chunk where the output layer allows it."""

    def __init__(self, settings: Settings, *, shared: bool = True, chunked: bool = True) -> None:
        self.settings, self.shared, self.chunked = settings, shared, chunked

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """The objective of a recipe; trained prefixes and prompts go before whole documents alone."""
        return cls(
            recipe.method,
            shared=recipe.adapter.kind not in ("prefix", "prompt"),
            chunked=recipe.runtime.kernels.cross_entropy != "off",
        )


def likelihood(model: torch.nn.Module, batch: AnswerBatch, *, chunked: bool = True) -> Likelihood:
    """What a model gives to every token of every answer, in one forward pass; only these tokens' logits are made,
    chunk by chunk (``chunked``) where the output layer allows it."""
    layer = output_layer(model) if chunked else None
    if layer is None:
        by_token = -cross_entropy(outputs(model, batch, batch.where).logits[0].float(), batch.wanted, reduction="none")
    else:
        linear, head = layer
        with instead(
            linear, lambda hidden: linear_log_probabilities(hidden, linear.weight, linear.bias, batch.wanted, head)
        ) as found:
            outputs(model, batch, batch.where)
            by_token = found()
    return Likelihood(summed(by_token, batch), batch.lengths, by_token)


def summed(by_token: torch.Tensor, batch: AnswerBatch) -> torch.Tensor:
    """Numbers of tokens [n] -> their sums by answer [A]."""
    sums = torch.zeros(len(batch.lengths) + 1, device=by_token.device).index_add(0, batch.answer, by_token)
    return sums[:-1]
