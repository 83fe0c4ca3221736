"""Weights, gradients and optimiser state shared out layer by layer: PyTorch's fully_shard (FSDP2, Zhao et al. 2023)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any, cast

import torch
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from luthier.data.batch import Batch
from luthier.errors import RunError
from luthier.methods.method import Loss, Method
from luthier.model.hollow import may_be_hollow
from luthier.recipe import Recipe
from luthier.train.engines.gathered import gathered
from luthier.train.engines.handed_out import HandedOut
from luthier.train.engines.single import SingleDevice, narrow_frozen
from luthier.train.ranks import Ranks
from luthier.train.stored import Stored

# No objective writes into what a layer returns.
warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor", category=UserWarning)


class FullyShared(SingleDevice):
    """Each process holds its part of every parameter; a layer is whole only while it computes."""

    exchanges = shares_gradients = True

    def __init__(self, recipe: Recipe, ranks: Ranks) -> None:
        super().__init__(recipe)
        self.ranks = ranks
        if self.device.type == "cuda":
            self.device = torch.device("cuda", ranks.local)
        self._parallel, self._packed = recipe.parallel, recipe.quantise.bits < 16
        self.hands_out = ranks.count > 1 and may_be_hollow(recipe)

    def wrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """Shard every layer, then what is left around them; one at a time is whole on the device.

        Raises:
            RunError: ``parallel.wrap`` names classes that the model has no layer of.
        """
        settings = self._settings()
        if self._narrow and self.compute is not torch.float32:
            narrow_frozen(model, self.compute)
        share = HandedOut(model, self.device, self.ranks) if self.hands_out else None
        for unit in (*units(model, self._parallel.wrap), transformer(model)):
            if share is not None:
                share.fill(unit)
            fully_shard(unit, **settings)
        whole = [name for name, one in model.named_parameters() if not isinstance(one, DTensor)]
        assert not whole, f"not shared out: {', '.join(whole[:3])}"
        return model

    def _settings(self) -> dict[str, Any]:
        """What ``fully_shard`` is told: stage 3 gives layers up after their forward pass, stage 2 keeps them.

        Weights travel and compute in the compute type, gradients are added up in fp32. Packed bits travel as they are:
        they are numbers of no type, and a cast would be their end.
        """
        settings: dict[str, Any] = {
            "mesh": self._mesh(),
            "reshard_after_forward": self._parallel.stage == 3,
        }
        if self.compute is not torch.float32 and not self._packed:
            settings["mp_policy"] = MixedPrecisionPolicy(
                param_dtype=self.compute, reduce_dtype=torch.float32, cast_forward_inputs=False
            )
        if self._parallel.offload_parameters:
            settings["offload_policy"] = CPUOffloadPolicy(pin_memory=self.device.type == "cuda")
        return settings

    def _mesh(self) -> DeviceMesh:
        """All processes in one row; for hybrid sharding a row for each machine, which holds the whole model once."""
        count, local = self.ranks.count, max(self.ranks.all(self.ranks.local)) + 1
        if not self._parallel.fsdp_config.get("hybrid") or count % local:
            return init_device_mesh(self.device.type, (count,))
        return init_device_mesh(self.device.type, (count // local, local), mesh_dim_names=("copies", "parts"))

    def attach(self, model: torch.nn.Module, method: Method, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Let the objective run inside the model's hooks, whichever of its parts it calls."""

        def objective(carrier: torch.nn.Module, batch: Batch) -> tuple[Any, ...]:
            loss = method.loss(model, batch)
            return loss.total, loss.count, loss.metrics

        carrier: Any = transformer(model)
        carrier.objective = MethodType(objective, carrier)
        register_fsdp_forward_method(carrier, "objective")
        return optimizer

    def loss(self, method: Method, model: torch.nn.Module, batch: Batch, *, last: bool = True) -> Loss:
        """Through the hooks; gradients are shared out after every batch, so that they never lie whole."""
        with self.ranks.guarded():
            return Loss(*cast(Any, transformer(model)).objective(batch))

    def backward(self, loss: torch.Tensor) -> None:
        """Add a loss's gradients; FSDP takes their mean over the processes, so that it is given their number times."""
        with self.ranks.guarded():
            super().backward(loss * self.ranks.count)

    def clip(self, model: torch.nn.Module, largest: float | None) -> float:
        """The norm of all processes' parts together."""
        parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
        with self.ranks.guarded():
            norm = torch.nn.utils.clip_grad_norm_(parameters, float("inf") if largest is None else largest)
            return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    @contextmanager
    def whole(self, model: torch.nn.Module) -> Iterator[bool]:
        """Every process helps to gather; the first one holds what is gathered, on the CPU, in place of its parts."""
        reshard(model)
        with gathered(model, self.ranks.first, self._gather) as here:
            yield here

    def _gather(self, parameter: torch.Tensor) -> torch.Tensor | None:
        if not isinstance(parameter, DTensor):
            return None
        with self.ranks.guarded():
            whole: torch.Tensor = parameter.full_tensor().detach().cpu()
        return whole

    def state(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, weights_only: bool) -> dict[str, Any]:
        """This process's parts, as DTensors."""
        reshard(model)
        return super().state(model, optimizer, weights_only=weights_only)

    def put(self, model: torch.nn.Module, weights: Stored) -> None:
        """Give this process's parts saved values; a layer that is still whole from an evaluation is given up before.

        Raises:
            CheckpointError: the model has no such parameters.
        """
        reshard(model)
        super().put(model, weights)


def transformer(model: torch.nn.Module) -> torch.nn.Module:
    """The model proper inside what adapters put around it: what training and generation both go through."""
    found: torch.nn.Module = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
    return found


def units(model: torch.nn.Module, names: Sequence[str]) -> list[torch.nn.Module]:
    """The modules that are gathered as one: those of the named classes, else those that transformers never splits.

    Raises:
        RunError: a named class is none of the model's.
    """
    modules = list(model.modules())
    there = {type(module).__name__ for module in modules}
    missing = [name for name in names if name not in there]
    if missing:
        blocks = sorted(there & blocks_of(modules))
        raise RunError(
            f"the model has no {', '.join(missing)}",
            place="parallel.wrap",
            remedy=f"write {', '.join(blocks)}" if blocks else "leave it out",
        )
    wanted = set(names) or blocks_of(modules)
    return [module for module in modules if type(module).__name__ in wanted]


def blocks_of(modules: Sequence[torch.nn.Module]) -> set[str]:
    """The classes of a model's layers, by the name that transformers gives them."""
    return {name for module in modules for name in getattr(module, "_no_split_modules", None) or ()}


def reshard(model: torch.nn.Module) -> None:
    """Let every layer give up what it has gathered, so that all parameters are parts again."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
