"""GaLore (Zhao et al. 2024) and APOLLO (Zhu et al. 2025): Adam on gradients projected to a low rank."""

from __future__ import annotations

import re
from typing import Any

import torch

from luthier.errors import RecipeError
from luthier.recipe.optimizer import Optimizer
from luthier.train.optimizers.constants import adam, own
from luthier.train.optimizers.groups import Groups
from luthier.train.optimizers.imported import optional
from luthier.train.optimizers.state import State, keep_plain

GALORE = {"rank": 128, "update_proj_gap": 200, "scale": 0.25, "proj_type": "std"}
APOLLO = {**GALORE, "proj": "random", "scale_type": "channel", "scale": 1.0}


def galore(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """GaLore's AdamW or Adafactor, with the Trainer's defaults."""
    library = optional("galore_torch", "galore-torch")
    constants = own(optimizer, **GALORE)
    projection = {name: constants.pop(name) for name in GALORE}
    groups = targeted(groups, optimizer, projection)
    if optimizer.kind == "galore_adafactor":
        made = library.GaLoreAdafactor(groups, lr=optimizer.lr, scale_parameter=False, relative_step=False, **constants)
    else:
        made = library.GaLoreAdamW(groups, **adam(optimizer), no_deprecation_warning=True, **constants)
    projector = optional("galore_torch.galore_projector", "galore-torch").GaLoreProjector
    return _kept(made, lambda group, state: projector(**{name: group[name] for name in GALORE}))


def apollo(groups: Groups, optimizer: Optimizer) -> torch.optim.Optimizer:
    """APOLLO's AdamW, with the Trainer's defaults."""
    library = optional("apollo_torch", "apollo-torch")
    constants = own(optimizer, **APOLLO)
    projection = {name: constants.pop(name) for name in APOLLO}
    made = library.APOLLOAdamW(targeted(groups, optimizer, projection), **adam(optimizer), **constants)
    return _kept(made, lambda group, state: made._initialize_projector(group, state))


def targeted(groups: Groups, optimizer: Optimizer, projection: dict[str, Any]) -> Groups:
    """The groups, with matrices that ``target_modules`` names in groups of their own, which are projected.

    Raises:
        RecipeError: it names none.
    """
    made: Groups = []
    for group in groups:
        named = list(zip(group["names"], group["params"], strict=True))
        chosen = [group["hidden"] and _named(name, optimizer.args.get("target_modules")) for name, _ in named]
        for wanted, extra in ((True, projection), (False, {})):
            part = [one for one, inside in zip(named, chosen, strict=True) if inside == wanted]
            if part:
                names, parameters = zip(*part, strict=True)
                made.append({**group, "names": list(names), "params": list(parameters), **extra})
    if not any("rank" in group for group in made):
        raise RecipeError(
            "names no matrix that trains", place="optimizer.args.target_modules", remedy="write all-linear"
        )
    return made


def _named(name: str, targets: Any) -> bool:
    """Whether targets (a pattern, a list of parts of names, or all-linear) name the module of a weight."""
    module = name.removesuffix(".weight")
    if isinstance(targets, str):
        return targets.replace("_", "-") == "all-linear" or re.fullmatch(targets, module) is not None
    return any(str(target) in module or re.fullmatch(str(target), module) for target in targets or ())


def _kept(made: Any, new: Any) -> torch.optim.Optimizer:
    """The optimiser with each projector's matrix, and its seed, as state of its own."""
    group_of = {parameter: group for group in made.param_groups for parameter in group["params"]}

    def plain(parameter: torch.nn.Parameter, state: State) -> None:
        projector = state.pop("projector", None)
        if projector is not None:
            matrix = projector.ortho_matrix
            matrices = matrix if isinstance(matrix, list) else [matrix]
            # A file holds rows one after another, and a product's last bits go by how its matrices lie.
            state.update({f"projector.{number}": one.contiguous() for number, one in enumerate(matrices)})
            if hasattr(projector, "seed"):
                state["projector.seed"] = projector.seed

    def rebuilt(parameter: torch.nn.Parameter, state: State) -> None:
        if "projector.0" in state:
            projector = state["projector"] = new(group_of[parameter], state)
            matrices = [state.pop(f"projector.{number}") for number in (0, 1) if f"projector.{number}" in state]
            projector.ortho_matrix = matrices if len(matrices) > 1 else matrices[0]
            if "projector.seed" in state:
                projector.seed = state.pop("projector.seed")

    keep_plain(made, plain=plain, rebuilt=rebuilt)
    optimizer: torch.optim.Optimizer = made
    return optimizer
