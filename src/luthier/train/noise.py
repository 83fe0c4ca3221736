"""NEFTune: noise on the input embeddings while training (Jain et al. 2023, arXiv 2310.05914, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class Noise:
    """Adds noise uniform in +-alpha / sqrt(L d) to embeddings [1, T, d], L being the length of each token's document,
    not of the pack. It depends on the seed, the step and the micro-batch alone, so that a resumed run meets the same;
    outside ``of``, and where no gradient is taken, nothing is added."""

    def __init__(self, model: Any, alpha: float, seed: int) -> None:
        self.alpha, self.seed = alpha, seed
        self._drawn: tuple[torch.Tensor, tuple[int, int]] | None = None
        model.get_input_embeddings().register_forward_hook(self._added)

    @contextmanager
    def of(self, boundaries: torch.Tensor, step: int, micro: int) -> Iterator[None]:
        """Add the noise of a micro-batch whose documents have these cumulative lengths [k + 1]."""
        self._drawn = boundaries, (step, micro)
        try:
            yield
        finally:
            self._drawn = None

    def _added(self, module: torch.nn.Module, _: Any, embedded: torch.Tensor) -> torch.Tensor:
        if self._drawn is None or not torch.is_grad_enabled():
            return embedded
        boundaries, place = self._drawn
        seed = np.random.SeedSequence((self.seed, *place)).generate_state(1, np.uint64)[0]
        generator = torch.Generator(embedded.device).manual_seed(int(seed >> np.uint64(1)))
        lengths = boundaries.diff().to(embedded.device)
        if lengths.sum() != embedded.shape[1]:
            lengths = lengths.new_tensor([embedded.shape[1]])
        size = (self.alpha / (lengths * embedded.shape[2]).sqrt()).repeat_interleave(lengths)
        drawn = torch.rand(embedded.shape, generator=generator, device=embedded.device) * 2 - 1
        return embedded + (drawn * size[:, None]).to(embedded.dtype)
