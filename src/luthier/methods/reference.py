"""What a preference is measured against: the likelihood of the answers under the model as it began."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from luthier.data.preference_batch import AnswerBatch
from luthier.errors import RunError
from luthier.methods.answers import likelihood
from luthier.model.alone import base_alone


class Reference(Protocol):
    """Gives the answers' log-probabilities."""

    def __call__(self, model: torch.nn.Module, batch: AnswerBatch, *, chunked: bool = True) -> torch.Tensor:
        """Summed log-probabilities [A] under the reference of the model that trains; no gradient goes through.
        ``chunked`` is whether logits are made chunk by chunk where the output layer allows it."""


class Uniform:
    """No reference: every answer is as likely as any other."""

    def __call__(self, model: torch.nn.Module, batch: AnswerBatch, *, chunked: bool = True) -> torch.Tensor:
        """Zeros [A]."""
        return torch.zeros(len(batch.lengths), device=batch.wanted.device)


class WithoutAdapter:
    """The frozen weights below an adapter."""

    def __call__(self, model: Any, batch: AnswerBatch, *, chunked: bool = True) -> torch.Tensor:
        """Log-probabilities [A] with the adapter switched off."""
        with measuring(model), base_alone(model):
            return likelihood(model, batch, chunked=chunked).sums


class AtStart:
    """The same model with its trained tensors as they were; for adapters that began as something."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._kept = {name: one.detach().clone() for name, one in model.named_parameters() if one.requires_grad}

    def __call__(self, model: torch.nn.Module, batch: AnswerBatch, *, chunked: bool = True) -> torch.Tensor:
        """Log-probabilities [A] with the tensors put back for the time."""
        own = {name: one for name, one in model.named_parameters() if name in self._kept}
        now = {name: one.data for name, one in own.items()}
        with measuring(model):
            try:
                for name, one in own.items():
                    one.data = self._kept[name].to(one.device)
                return likelihood(model, batch, chunked=chunked).sums
            finally:
                for name, one in own.items():
                    one.data = now[name]


class Copied:
    """A whole frozen model: a copy of the one that trains, or one that is nobody else's (``own``)."""

    def __init__(self, model: torch.nn.Module, *, own: bool = False) -> None:
        self._model = (model if own else copy.deepcopy(model)).eval().requires_grad_(False)

    def __call__(self, model: torch.nn.Module, batch: AnswerBatch, *, chunked: bool = True) -> torch.Tensor:
        """Log-probabilities [A] under the copy."""
        with torch.no_grad():
            return likelihood(self._model, batch, chunked=chunked).sums


class Precomputed:
    """Numbers worked out before the first step, told by the content of their documents."""

    def __init__(self, kept: Mapping[bytes, tuple[float, ...]]) -> None:
        self._kept = kept

    def __call__(self, model: torch.nn.Module, batch: AnswerBatch, *, chunked: bool = True) -> torch.Tensor:
        """Log-probabilities [A].

        Raises:
            RunError: a document for which there are none.
        """
        try:
            found = [number for key in batch.keys for number in self._kept[key]]
        except KeyError as error:
            raise RunError(
                "the reference's numbers do not cover these rows",
                place=", ".join(batch.origins[:3]),
                remedy="delete the run's folder reference; it is made again",
            ) from error
        return torch.tensor(found, device=batch.wanted.device)


@contextmanager
def measuring(model: torch.nn.Module) -> Iterator[None]:
    """No gradients and no dropout."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
