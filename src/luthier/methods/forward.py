"""A batch through a model: documents isolated, and logits only where they are asked for."""

from __future__ import annotations

from typing import Any

import torch

from luthier.data.batch import Batch
from luthier.data.preference_batch import AnswerBatch


def outputs(model: torch.nn.Module, batch: Batch, where: torch.Tensor) -> Any:
    """What a causal language model gives for a batch, with ``logits`` [1, len(where), vocabulary] at some positions."""
    return model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        use_cache=False,
        logits_to_keep=where,
        **isolation(batch),
    )


def isolation(batch: Batch) -> dict[str, Any]:
    """What the attention is told of a batch."""
    told: dict[str, Any] = {"document_lengths": tuple(batch.boundaries.diff().tolist())}
    return told | {"branches": batch.branches} if isinstance(batch, AnswerBatch) and batch.branches else told
