"""Reward modelling: a number for each answer, higher for the chosen one (Ouyang et al. 2022, eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch

from luthier.data.batch import Batch
from luthier.data.preference_batch import AnswerBatch, collate_judged
from luthier.data.tokens import Tokens
from luthier.methods.forward import isolation
from luthier.methods.likelihood_losses import bradley_terry
from luthier.methods.method import Loss
from luthier.methods.preference import compared
from luthier.model.reward import hidden_and_head
from luthier.recipe import Recipe
from luthier.recipe.method import Method as Settings


class Reward:
    """Learns from pairs; the reward of an answer is the head's number at its last token."""

    shared = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """The objective of a recipe."""
        return cls(recipe.method)

    def collate(self, items: Sequence[Tokens]) -> Batch:
        """Pairs end to end."""
        return collate_judged(items)

    def loss(self, model: torch.nn.Module, batch: Batch) -> Loss:
        """The sum of the pairs' losses."""
        assert isinstance(batch, AnswerBatch), "collated by this method"
        rewards = rewards_of(model, batch)
        losses = bradley_terry(rewards[0::2], rewards[1::2], self.settings.center_rewards)
        return Loss(losses.sum(), batch.units, compared(rewards.detach()))


def rewards_of(model: torch.nn.Module, batch: AnswerBatch) -> torch.Tensor:
    """The reward of every answer [A]."""
    body, head = hidden_and_head(model)
    output = body(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False, **isolation(batch))
    rewards: torch.Tensor = head(output.last_hidden_state[0, batch.last])[:, 0].float()
    return rewards
