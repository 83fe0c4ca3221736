"""Proof that a run moved what trains and nothing else: a hash of every parameter before and after."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Print:
    """A parameter's SHA-256, and whether it trains."""

    trains: bool
    digest: str


@dataclass(frozen=True, slots=True)
class Moved:
    """How many parameters trained and how many were frozen; the names of those that did what they should not."""

    trained: int
    frozen: int
    stood_still: tuple[str, ...]
    drifted: tuple[str, ...]
    before: str
    after: str
    """One hash over all names and digests."""

    def __str__(self) -> str:
        told = f"all {self.frozen} frozen tensors are bit for bit what they were, {self.trained} trained ones moved"
        still = f"; without a change: {_some(self.stood_still)}" if self.stood_still else ""
        return f"frozen tensors changed: {_some(self.drifted)}{still}" if self.drifted else told + still


def fingerprints(model: torch.nn.Module) -> dict[str, Print]:
    """A fingerprint of every parameter, name by name; one is on the CPU at a time."""
    return {name: Print(one.requires_grad, _digest(one)) for name, one in model.named_parameters()}


def moved(before: dict[str, Print], model: torch.nn.Module) -> Moved:
    """What became of the parameters since ``before``."""
    after = fingerprints(model)
    same = {name for name, one in before.items() if after[name].digest == one.digest}
    trained = [name for name, one in before.items() if one.trains]
    frozen = [name for name, one in before.items() if not one.trains]
    return Moved(
        trained=sum(name not in same for name in trained),
        frozen=sum(name in same for name in frozen),
        stood_still=tuple(name for name in trained if name in same),
        drifted=tuple(name for name in frozen if name not in same),
        before=_of_all(before),
        after=_of_all(after),
    )


def _of_all(prints: dict[str, Print]) -> str:
    """The SHA-256 of all names with their digests, in the order of names."""
    return hashlib.sha256("".join(f"{name} {prints[name].digest}\n" for name in sorted(prints)).encode()).hexdigest()


def _digest(parameter: torch.Tensor) -> str:
    data = parameter.detach().cpu().contiguous()
    return hashlib.sha256(data.reshape(-1).view(torch.uint8).numpy().data).hexdigest()


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
