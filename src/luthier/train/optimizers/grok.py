"""GrokAdamW: AdamW on gradients to which a slow mean of themselves is added (Grokfast, Lee et al. 2024)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from luthier.recipe.optimizer import Optimizer
from luthier.train.optimizers.constants import adam, own
from luthier.train.optimizers.groups import Groups
from luthier.train.optimizers.imported import optional
from luthier.train.optimizers.state import keep_plain


class _Beside(TorchFunctionMode):
    """The library asks for its state on the CPU by name, and has it copied there and back in each step: what is asked
    for there is left where it is, or made where the weight is."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.to and args[1:] == ("cpu",):
            return args[0]
        if func is torch.zeros_like:
            return torch.zeros_like(*args)
        return func(*args, **(kwargs or {}))


def build(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """The library's steps, with its state beside the weights, where a checkpoint finds it.

    Raises:
        ValueError: a constant is out of its range, or a function.
    """
    constants = own(optimizer)
    if constants.get("grokking_signal_fns") is not None:
        raise ValueError("grokking_signal_fns are functions, which no recipe can hold")
    library = optional("grokadamw.grokadamw", "grokadamw")
    # What its old name stands for, without a warning that the name is old, and another where there is no GPU.
    library.autocast = partial(torch.autocast, "cuda", dtype=torch.float16, enabled=torch.cuda.is_available())
    base: Any = library.GrokAdamW

    class Made(base):  # type: ignore[misc]
        def _update_group(self, group: dict[str, Any], *rest: Any) -> None:
            """One group's step; the library looks for the state in the group itself, which no checkpoint holds."""
            group["state"] = self.state
            try:
                with _Beside():
                    base._update_group(group, *rest)
            finally:
                del group["state"]

    made: torch.optim.Optimizer = Made(groups, **adam(optimizer), **constants)
    keep_plain(made)
    return made
