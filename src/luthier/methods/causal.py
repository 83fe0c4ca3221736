"""Next-token prediction: pretraining learns every token, supervised fine-tuning the trained ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy

from luthier.data.batch import IGNORED, Batch, collate
from luthier.data.tokens import Tokens
from luthier.methods.method import Loss


class SupervisedFineTuning:
    """Cross-entropy of the trained tokens given everything before them in their document."""

    def collate(self, items: Sequence[Tokens]) -> Batch:
        """Documents end to end."""
        return collate(items)

    def loss(self, model: torch.nn.Module, batch: Batch) -> Loss:
        """The sum of ``-log p(token)`` over trained tokens; only their logits are ever computed."""
        where = (batch.labels[0] != IGNORED).nonzero()[:, 0]
        logits = logits_at(model, batch, where)
        return Loss(cross_entropy(logits.float(), batch.labels[0, where], reduction="sum"), batch.targets)


class Pretrain(SupervisedFineTuning):
    """The same on plain documents, all of whose tokens are trained."""


def logits_at(model: torch.nn.Module, batch: Batch, where: torch.Tensor) -> torch.Tensor:
    """Logits [len(where), vocabulary] at some positions of a batch, documents isolated."""
    lengths = tuple(batch.boundaries.diff().tolist())
    output = model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        use_cache=False,
        logits_to_keep=where,
        document_lengths=lengths,
    )
    logits: torch.Tensor = output.logits[0]
    return logits
