"""Mean loss over the trained tokens of some documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch

from luthier.data.bins import best_fit
from luthier.data.store import TokenStore
from luthier.methods.method import Method


def mean_loss(
    model: torch.nn.Module,
    method: Method,
    store: TokenStore,
    documents: Sequence[int],
    *,
    capacity: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]],
) -> tuple[float, int]:
    """(mean loss, trained tokens); documents are packed into batches of ``capacity`` tokens, one batch in memory."""
    chosen = np.asarray(documents, dtype=np.int64)
    packs = best_fit(chosen, store.lengths, max(capacity, int(store.lengths[chosen].max())))
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    try:
        with torch.inference_mode():
            for pack in range(len(packs)):
                batch = method.collate([store[int(document)] for document in packs[pack]]).to(device)
                with autocast():
                    loss = method.loss(model, batch)
                total += float(loss.total)
                count += loss.count
    finally:
        model.train(was_training)
    return total / max(1, count), count
