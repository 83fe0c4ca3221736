"""Documents -> the tensors of one forward pass, without any padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from luthier.data.tokens import Tokens

IGNORED = -100
"""The label of a position that gives no loss."""


@dataclass(frozen=True, slots=True)
class Batch:
    """T tokens of k documents in one row.

    ``labels`` are shifted already: ``labels[0, t]`` is the token to predict at t, or IGNORED. ``boundaries`` [k + 1]
    are the documents' cumulative lengths; positions restart with each document.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor
    position_ids: torch.Tensor
    boundaries: torch.Tensor
    origins: tuple[str, ...]
    targets: int

    @property
    def tokens(self) -> int:
        """Tokens in the batch, T."""
        return self.input_ids.shape[1]

    @property
    def units(self) -> int:
        """What a step's loss is the mean over: trained tokens here, pairs where answers are judged."""
        return self.targets

    @property
    def longest(self) -> int:
        """Length of the longest document."""
        return int(self.boundaries.diff().max())

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        if self.input_ids.device == device:
            return self
        names = ("input_ids", "labels", "position_ids", "boundaries")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})


def collate(documents: Sequence[Tokens]) -> Batch:
    """Lay documents end to end.

    >>> batch = collate([Tokens(np.array([5, 6, 7], np.int32), np.array([False, True, True]), "a:1")])
    >>> batch.labels.tolist(), batch.position_ids.tolist()
    ([[6, 7, -100]], [[0, 1, 2]])
    """
    ids = np.concatenate([document.ids for document in documents]).astype(np.int64)
    trained = np.concatenate([document.trained for document in documents])
    lengths = np.array([len(document) for document in documents], np.int64)
    boundaries = np.concatenate([[0], np.cumsum(lengths)])
    positions = np.arange(len(ids)) - np.repeat(boundaries[:-1], lengths)
    labels = np.full(len(ids), IGNORED, np.int64)
    learned = trained[1:] & (positions[1:] > 0)
    labels[:-1][learned] = ids[1:][learned]
    return Batch(
        input_ids=torch.from_numpy(ids)[None],
        labels=torch.from_numpy(labels)[None],
        position_ids=torch.from_numpy(positions)[None],
        boundaries=torch.from_numpy(boundaries.astype(np.int32)),
        origins=tuple(document.origin for document in documents),
        targets=int(learned.sum()),
    )
