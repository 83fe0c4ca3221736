"""AdamW with state of 8 or 4 bits, or in FP8, of torchao."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from luthier.recipe.optimizer import Optimizer
from luthier.train.optimizers.constants import adam, own
from luthier.train.optimizers.groups import Groups
from luthier.train.optimizers.imported import optional
from luthier.train.optimizers.state import State, keep_plain

BLOCK = 256
"""Numbers that share a scale, as the Trainer has it for 4 bits as well."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a state is stored: torchao's optimiser, the state's module, class and parts, and whether it knows of a sign
    and of a shape."""

    optimizer: str
    module: str
    state: str
    parts: tuple[str, ...] = ("codes", "scale", "qmap")
    signed: bool = True
    shaped: bool = False


FORMS = {
    "4bit": Form("AdamW4bit", "subclass_4bit", "OptimState4bit", shaped=True),
    "8bit": Form("AdamW8bit", "subclass_8bit", "OptimState8bit"),
    "fp8": Form("AdamWFp8", "subclass_fp8", "OptimStateFp8", ("codes", "scale"), signed=False),
}
"""By the end of the optimiser's name."""

AVERAGES = {"exp_avg": True, "exp_avg_sq": False, "max_exp_avg_sq": False}
"""Names of the states, and whether they have a sign."""


def build(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """torchao's optimiser; on a CPU it runs operation by operation, without its compiler."""
    form = FORMS[optimizer.kind.rpartition("_")[2]]
    base: Any = getattr(optional("torchao.optim", "torchao"), form.optimizer)
    on_cpu = not any(parameter.is_cuda for group in groups for parameter in group["params"])

    class Made(base):  # type: ignore[misc]
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32)
            with torch.compiler.set_stance("force_eager" if on_cpu else "default"):
                return super().step(closure)

    made: torch.optim.Optimizer = Made(groups, **adam(optimizer), **own(optimizer, block_size=BLOCK))
    cls = getattr(optional(f"torchao.optim.{form.module}", "torchao"), form.state)

    def plain(parameter: torch.nn.Parameter, state: State) -> None:
        for name in AVERAGES:
            if isinstance(state.get(name), cls):
                whole = state.pop(name)
                state.update({f"{name}.{part}": getattr(whole, part) for part in form.parts})

    def rebuilt(parameter: torch.nn.Parameter, state: State) -> None:
        for name, signed in AVERAGES.items():
            if f"{name}.codes" in state:
                parts = [state.pop(f"{name}.{part}") for part in form.parts]
                sign = (signed,) if form.signed else ()
                shape = (parameter.shape,) if form.shaped else ()
                state[name] = cls(*parts, *sign, *shape, dtype=parameter.dtype)

    keep_plain(made, plain=plain, rebuilt=rebuilt)
    return made
