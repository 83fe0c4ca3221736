"""Optimisers of bitsandbytes: state of 32 or 8 bits (Dettmers et al. 2022), paged between GPU and host or not."""

from __future__ import annotations

from typing import Any

import torch

from luthier.recipe.optimizer import Optimizer
from luthier.train.optimizers.constants import adam, own
from luthier.train.optimizers.groups import Groups
from luthier.train.optimizers.imported import optional
from luthier.train.optimizers.state import State, keep_plain

PAGED = 100_000
"""Parameters with fewer numbers are not paged (bitsandbytes' own limit)."""


def build(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """The optimiser that ``optimizer.kind`` names, with constants as the Trainer gives them."""
    kind = optimizer.kind
    library = optional("bitsandbytes.optim", "bitsandbytes")
    constants: dict[str, Any] = {"optim_bits": 8 if "8bit" in kind else 32}
    if "ademamix" in kind:
        cls, given = library.AdEMAMix, own(optimizer, beta3=0.9999, alpha=5.0)
        betas = (given.pop("beta1", optimizer.beta1), given.pop("beta2", optimizer.beta2), given.pop("beta3"))
        constants |= {**adam(optimizer), "betas": betas, **given}
    elif "lion" in kind:
        cls, betas_of_lion = library.Lion, (optimizer.beta1, optimizer.beta2)
        constants |= {"lr": optimizer.lr, "betas": betas_of_lion, **own(optimizer)}
    elif "rmsprop" in kind:
        cls, constants = library.RMSprop, {**constants, "lr": optimizer.lr, **own(optimizer)}
    elif kind == "lars":
        cls, constants = library.LARS, {**constants, "lr": optimizer.lr, **own(optimizer, momentum=0.9)}
    else:
        cls = library.LAMB if kind == "lamb" else library.AdamW
        constants |= {**adam(optimizer), **own(optimizer)}
    if kind.startswith("paged_") and any(parameter.is_cuda for group in groups for parameter in group["params"]):
        constants["is_paged"] = True
    return _kept(cls(groups, **constants))


def _kept(made: Any) -> torch.optim.Optimizer:
    """The optimiser with its state plain between steps."""

    def plain(parameter: torch.nn.Parameter, state: State) -> None:
        """All parameters share one table of values a state's bytes stand for; it is never saved."""
        for name in ("qmap1", "qmap2"):
            state.pop(name, None)

    def rebuilt(parameter: torch.nn.Parameter, state: State) -> None:
        for number, table in ((1, "dynamic"), (2, "udynamic")):
            name = f"state{number}"
            if name not in state:
                continue
            if state[name].dtype is torch.uint8:
                made.name2qmap[table] = state[f"qmap{number}"] = made.name2qmap[table].to(parameter.device)
            if made.is_paged and parameter.is_cuda and parameter.numel() >= PAGED:
                state[name] = _paged(state[name], parameter)

    keep_plain(made, plain=plain, rebuilt=rebuilt)
    optimizer: torch.optim.Optimizer = made
    return optimizer


def _paged(state: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
    """The state in memory that moves between GPU and host, if it comes from a checkpoint and is not there."""
    if getattr(state, "is_paged", False):
        return state
    functional = optional("bitsandbytes.functional", "bitsandbytes")
    buffer: torch.Tensor = functional.get_paged(*state.shape, dtype=state.dtype, device=parameter.device)
    buffer.copy_(state)
    return buffer
