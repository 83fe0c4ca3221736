"""Single optimisers of small packages."""

from __future__ import annotations

import torch

from luthier.recipe.optimizer import Optimizer
from luthier.train.optimizers.constants import adam, own
from luthier.train.optimizers.groups import Groups
from luthier.train.optimizers.imported import optional
from luthier.train.optimizers.state import keep_plain


def optimi(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """torch-optimi's StableAdamW (Wortsman et al. 2023), whose steps are clipped by its own measure, or its AdamW."""
    library = optional("optimi", "torch-optimi")
    cls = library.StableAdamW if optimizer.kind == "stable_adamw" else library.AdamW
    made: torch.optim.Optimizer = cls(groups, **adam(optimizer), **own(optimizer))
    keep_plain(made, of_groups=("step", "setup", "triton", "foreach", "kahan_sum"))
    return made


def lion(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """Lion (Chen et al. 2023) of lion-pytorch."""
    library = optional("lion_pytorch", "lion-pytorch")
    betas = (optimizer.beta1, optimizer.beta2)
    made: torch.optim.Optimizer = library.Lion(groups, lr=optimizer.lr, betas=betas, **own(optimizer))
    return made


def came(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """CAME (Luo et al. 2023) of came-pytorch. ``optimizer.args`` may give ``beta3``, and ``eps1`` and ``eps2``, which
    are added to squares and not to a denominator: ``optimizer.epsilon`` is none of them."""
    library = optional("came_pytorch", "came-pytorch")
    constants = own(optimizer, beta3=0.9999, eps1=1e-30, eps2=1e-16)
    betas = (optimizer.beta1, optimizer.beta2, constants.pop("beta3"))
    eps = (constants.pop("eps1"), constants.pop("eps2"))
    made: torch.optim.Optimizer = library.CAME(groups, lr=optimizer.lr, betas=betas, eps=eps, **constants)
    keep_plain(made)
    return made


def adopt(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """ADOPT (Taniguchi et al. 2024) of pytorch-optimizer, its weight decay apart from the gradient, as Axolotl has it.

    Step t, from 0, clips the normed gradient to t^0.25 (Algorithm 2); the library would count from 1.
    """
    library = optional("pytorch_optimizer", "pytorch-optimizer")
    constants = own(optimizer, weight_decouple=True)
    made: torch.optim.Optimizer = library.ADOPT(
        groups, clip_lambda=lambda step: (step - 1) ** 0.25, **adam(optimizer), **constants
    )
    keep_plain(made, of_groups=("step",))
    return made
