"""Optimiser state (stage 1), gradients (2) and weights (3) shared out by DeepSpeed (ZeRO, Rajbhandari et al. 2020)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from luthier.data.batch import Batch
from luthier.environment import choose_deepspeed_device
from luthier.errors import CheckpointError, MissingPackage
from luthier.methods.method import Loss, Method
from luthier.model.hollow import may_be_hollow
from luthier.plan.deepspeed_settings import deepspeed_settings
from luthier.recipe import Recipe
from luthier.train import checkpoint
from luthier.train.checkpoint import Saved
from luthier.train.engines.ddp import Objective
from luthier.train.engines.gathered import gathered
from luthier.train.engines.handed_out import HandedOut, OneByOne
from luthier.train.engines.single import SingleDevice, narrow_frozen
from luthier.train.parts import Fragment
from luthier.train.ranks import Ranks
from luthier.train.stored import Stored


class ZeroRedundancy(SingleDevice):
    """DeepSpeed's ZeRO around the recipe's own optimiser; its checkpoints are ours, by parameter."""

    shares_gradients = True

    def __init__(self, recipe: Recipe, ranks: Ranks) -> None:
        super().__init__(recipe)
        self.ranks = ranks
        if self.device.type == "cuda":
            self.device = torch.device("cuda", ranks.local)
        self._recipe, self._stage = recipe, recipe.parallel.stage
        self.exchanges = self._stage == 3
        # A reference that is worked out beforehand needs whole weights before DeepSpeed has shared them out.
        measured = recipe.method.reference == "precomputed"
        self.hands_out = self.exchanges and ranks.count > 1 and may_be_hollow(recipe) and not measured
        self._engine: Any = None
        self._last = True

    def wrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model on the device; under stage 3 its weights wait where the first process has read them."""
        if not self.hands_out:
            return super().wrap(model)
        if self._narrow and self.compute is not torch.float32:
            narrow_frozen(model, self.compute)
        HandedOut(model, self.device, self.ranks).stand_in(model)
        return model

    def attach(self, model: torch.nn.Module, method: Method, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Hand model and optimiser to DeepSpeed.

        Raises:
            MissingPackage: it is not installed.
        """
        deepspeed = _deepspeed(self.device.type)
        settings = deepspeed_settings(self._recipe)
        objective = Objective(model, method, self.autocast)  # DeepSpeed switches off the one around its forward pass
        with self.ranks.guarded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.hands_out:
                OneByOne(objective, self.ranks).share_out(settings)
            self._engine, *_ = deepspeed.initialize(
                model=objective, optimizer=optimizer, config=settings, dist_init_required=False
            )
        self._zero.check_grad_overflow = True
        return optimizer

    @property
    def _zero(self) -> Any:
        """DeepSpeed's optimiser around ours."""
        return self._engine.optimizer

    def loss(self, method: Method, model: torch.nn.Module, batch: Batch, *, last: bool = True) -> Loss:
        """Through DeepSpeed's hooks."""
        self._last = last
        with self.ranks.guarded():
            return Loss(*self._engine(batch))

    def look(self, method: Method, model: torch.nn.Module, batch: Batch) -> Loss:
        """Past DeepSpeed's own forward pass, after which any gradient would be its gradients' end."""
        with self.ranks.guarded():
            return Loss(*self._engine.module(batch))

    def backward(self, loss: torch.Tensor) -> None:
        """Add a loss's gradients; ZeRO takes their mean over the processes, so that it is given their number times."""
        with self.ranks.guarded():
            self._engine.set_gradient_accumulation_boundary(self._last)
            self._engine.backward(loss * self.ranks.count)
            if not self._last:
                self._engine.step()

    def clip(self, model: torch.nn.Module, largest: float | None) -> float:
        """The global norm; ZeRO finds it on its way through its step, which it does not take if it is not finite."""
        with self.ranks.guarded():
            self._engine.step()
        return float(self._engine.get_global_grad_norm())

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Taken with the norm."""

    def forget(self, optimizer: torch.optim.Optimizer) -> None:
        """Drop the gradients."""
        self._engine.zero_grad()

    @contextmanager
    def whole(self, model: torch.nn.Module) -> Iterator[bool]:
        """Every process helps to gather; the first one holds what is gathered."""
        with gathered(model, self.ranks.first, self._gather) as here:
            yield here

    def _gather(self, parameter: torch.Tensor) -> torch.Tensor | None:
        if not hasattr(parameter, "ds_id"):
            return None
        from deepspeed import zero

        with self.ranks.guarded(), zero.GatheredParameters([parameter]):
            return parameter.detach().cpu().clone()

    def state(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, weights_only: bool) -> dict[str, Any]:
        """This process's numbers of every trained parameter and of what the optimiser keeps for it."""
        weights: dict[str, Fragment] = {}
        entries: dict[str, torch.Tensor | Fragment] = {}
        names, numbers = ([], {}) if weights_only else self._entries()
        self._link()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                weights[name] = self._held(parameter, None)
                entries |= {f"{name}|{entry}": self._held(parameter, entry) for entry in names}
                entries |= {f"{name}|{entry}": one.clone() for entry, one in numbers.items() if self.ranks.first}
        return {
            "weights": weights,
            "optimizer": entries,
            "random": checkpoint.of_all_ranks(checkpoint.random_tensors(self.device), self.ranks),
        }

    def _held(self, parameter: Any, entry: str | None) -> Fragment:
        """This process's part of a weight or of an entry of its optimiser state; none of it where it has none."""
        shape = _shape(parameter)
        if self._stage < 3:
            here = parameter._hp_mapping
            if here is None:
                return Fragment(0, shape, torch.empty(0))
            return Fragment(here.lp_fragment_address.start, shape, here.get_hp_fragment(entry).detach())
        flat, _ = self._zero._get_fp32_opt_state_partition(parameter, release_swap_buffers=False, optim_state_key=entry)
        begin = min(self.ranks.index * len(flat), shape.numel())  # the last parts are filled up to the others' size
        return Fragment(begin, shape, flat.detach()[: shape.numel() - begin])

    def _link(self) -> None:
        """Let parameters find their parts of the optimiser's state; DeepSpeed (0.19 at least) does so once, when only
        the first group has any."""
        if self._stage < 3:
            self._zero._hp_optimizer_states_linked = False
            self._zero._lazy_init_hp_params_optimizer_state()

    def _entries(self) -> tuple[list[str], dict[str, torch.Tensor]]:
        """The names of what the optimiser keeps for every number, and what it keeps once."""
        kept: dict[str, Any] = next(
            (state for state in (self._inner.state.get(flat, {}) for flat in self._flat) if state), {}
        )
        tensors = {name: one if isinstance(one, torch.Tensor) else torch.tensor(one) for name, one in kept.items()}
        return (
            [name for name, one in tensors.items() if one.ndim],
            {name: one for name, one in tensors.items() if not one.ndim},
        )

    @property
    def _inner(self) -> Any:
        """The recipe's own optimiser, which steps over flat parts."""
        return self._zero.optimizer

    @property
    def _flat(self) -> list[Any]:
        """This process's parts of the weights, which the optimiser's state belongs to."""
        flat = (
            self._zero.fp32_partitioned_groups_flat if self._stage == 3 else self._zero.single_partition_of_fp32_groups
        )
        return list(flat)

    def put(self, model: torch.nn.Module, weights: Stored) -> None:
        """Give parameters saved values, and ZeRO's own copies of them too.

        Raises:
            CheckpointError: the model has no such parameters.
        """
        own = dict(model.named_parameters())
        for name in weights:
            if name not in own or _shape(own[name]) != weights.shape(name):
                raise CheckpointError(f"holds {name}, which this model has not", remedy="set checkpoint.resume: never")
            _fill(self._held(own[name], None), weights, name)
            self._show(own[name], weights, name)

    def _show(self, parameter: Any, weights: Stored, name: str) -> None:
        """Put a value where forward passes see it."""
        if self._stage < 3:
            with torch.no_grad():
                parameter.copy_(weights[name])
            return
        from deepspeed import zero

        with self.ranks.guarded(), zero.GatheredParameters([parameter], modifier_rank=0), torch.no_grad():
            if self.ranks.first:
                parameter.copy_(weights[name])

    def restore(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: Saved) -> None:
        """Put weights, optimiser and random generators back.

        Raises:
            CheckpointError: they belong to other parameters.
        """
        self.put(model, state.weights)
        own, saved = dict(model.named_parameters()), state.optimizer
        some = {key.rpartition("|")[2]: key for key in saved}
        numbers = {entry: saved[key] for entry, key in some.items() if not saved.shape(key)}
        names = sorted(some.keys() - numbers.keys())
        for flat in self._flat:
            self._inner.state[flat] = {name: torch.zeros_like(flat) for name in names}
            self._inner.state[flat] |= {name: one.clone() for name, one in numbers.items()}
        self._link()
        for key in saved:
            name, _, entry = key.rpartition("|")
            if name not in own:
                raise CheckpointError(
                    f"holds optimiser state of {name}, which does not train", remedy="set checkpoint.resume: never"
                )
            if entry in names:
                _fill(self._held(own[name], entry), saved, key)
        checkpoint.restore_random(checkpoint.of_this_rank(state.random, self.ranks), self.device)


def _fill(part: Fragment, saved: Stored, name: str) -> None:
    """Read into a part what it is a part of."""
    part.values.copy_(saved.numbers(name, part.begin, part.begin + len(part.values)))


def _shape(parameter: Any) -> torch.Size:
    """The whole shape of a parameter."""
    shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
    return shape


def _deepspeed(device: str) -> Any:
    """The package, which tells a great deal unless it is asked not to."""
    choose_deepspeed_device(device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import deepspeed
    except ImportError as error:
        raise MissingPackage(
            "DeepSpeed is not installed", place="parallel.engine", remedy="pip install 'luthier[deepspeed]'"
        ) from error
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # Its exchange through shared memory is compiled at first use, which takes a compiler and a minute, and every later
    # run hangs where that was cut off; gloo carries the same.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
