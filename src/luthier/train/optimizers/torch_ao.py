"""AdamW with state of 8 or 4 bits, of torchao."""

from __future__ import annotations

from typing import Any

import torch

from luthier.recipe.optimizer import Optimizer
from luthier.train.optimizers.constants import adam, own
from luthier.train.optimizers.groups import Groups
from luthier.train.optimizers.imported import optional
from luthier.train.optimizers.state import State, keep_plain

BLOCK = 256
"""Numbers that share a scale, as the Trainer has it for 4 bits as well."""

PARTS = ("codes", "scale", "qmap")
AVERAGES = {"exp_avg": True, "exp_avg_sq": False, "max_exp_avg_sq": False}
"""Names of the states, and whether they have a sign."""


def build(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """torchao's optimiser; on a CPU it runs operation by operation, without its compiler."""
    library = optional("torchao.optim", "torchao")
    bits = 4 if "4bit" in optimizer.kind else 8
    base: Any = library.AdamW4bit if bits == 4 else library.AdamW8bit
    on_cpu = not any(parameter.is_cuda for group in groups for parameter in group["params"])

    class Made(base):  # type: ignore[misc]
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32)
            with torch.compiler.set_stance("force_eager" if on_cpu else "default"):
                return super().step(closure)

    made: torch.optim.Optimizer = Made(groups, **adam(optimizer), **own(optimizer, block_size=BLOCK))
    cls = optional(f"torchao.optim.subclass_{bits}bit", "torchao").__dict__[f"OptimState{bits}bit"]

    def plain(parameter: torch.nn.Parameter, state: State) -> None:
        for name in AVERAGES:
            if isinstance(state.get(name), cls):
                whole = state.pop(name)
                state.update({f"{name}.{part}": getattr(whole, part) for part in PARTS})

    def rebuilt(parameter: torch.nn.Parameter, state: State) -> None:
        for name, signed in AVERAGES.items():
            if f"{name}.codes" in state:
                parts = [state.pop(f"{name}.{part}") for part in PARTS]
                shape = (parameter.shape,) if bits == 4 else ()
                state[name] = cls(*parts, signed, *shape, dtype=parameter.dtype)

    keep_plain(made, plain=plain, rebuilt=rebuilt)
    return made
