"""What a run would be on devices that are not here: which engine fits, how long a step takes, and what bounds it.

A step's time is the longest of what overlaps (a roofline, Williams et al. 2009): the operations at the share of the
peak that training reaches, the bytes at the memory's bandwidth, and what is sent.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from luthier.model.shape import Shape
from luthier.plan.hardware import Fleet
from luthier.plan.memory import WIDTH, peak_memory
from luthier.plan.plan import Plan, micro_batch
from luthier.plan.sharing import SPARE, Engine, bytes_per_device, engines
from luthier.plan.traffic import GIGA, host_seconds, network_seconds
from luthier.plan.volume import Volume
from luthier.recipe import Recipe

REACHED = 0.4
"""Share of the peak that matrix products reach in training: assumed (published runs tell of 0.3 to 0.5)."""


@dataclass(frozen=True, slots=True)
class Option:
    """A run under one engine: bytes, and seconds of a step by what takes them."""

    engine: str
    memory: dict[str, int]
    host_memory: int
    fits: bool
    compute: float
    bandwidth: float
    network: float
    host: float
    steps: int

    @property
    def step(self) -> float:
        """Seconds of a step when everything overlaps."""
        return max(self.compute, self.bandwidth, self.network, self.host)

    @property
    def bound(self) -> str:
        """What a step waits for longest."""
        times = {"compute": self.compute, "memory": self.bandwidth, "network": self.network, "host": self.host}
        return max(times, key=lambda name: times[name])

    @property
    def total(self) -> float:
        """Seconds of the whole run."""
        return self.step * self.steps


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """The options on a fleet; ``steps`` optimiser steps of ``micros`` micro-batches on each device."""

    fleet: str
    devices: int
    memory: int
    compute: str
    steps: int
    micros: int
    batch: int
    checkpoint: int
    options: tuple[Option, ...]
    warnings: tuple[str, ...]

    @property
    def best(self) -> Option | None:
        """The fastest option that fits, the plainest of equals."""
        fitting = [option for option in self.options if option.fits]
        return min(fitting, key=lambda option: option.step, default=None)

    def tree(self) -> dict[str, Any]:
        """The plan as plain values."""
        options = [{**asdict(one), "step": one.step, "bound": one.bound, "total": one.total} for one in self.options]
        return {**asdict(self), "options": options, "best": self.best.engine if self.best else None}


def fleet_plan(recipe: Recipe, fleet: Fleet, plan: Plan, shape: Shape, volume: Volume) -> FleetPlan:
    """The plan of a recipe as its file means it: ``batch.micro`` and ``batch.accumulation`` are each device's, and
    where it says for how many processes it was written (``batch.world``), they are shared out anew.

    Args:
        plan: the same recipe's plan on this machine, whose operations and checkpoint are the same anywhere.
    """
    compute, warnings = _compute(recipe, fleet)
    in_all = recipe.batch.accumulation * (recipe.batch.world or fleet.count)
    micros = ceil(in_all / fleet.count)
    per_epoch = max(1, ceil(volume.packs / (recipe.batch.micro * in_all)))
    steps = recipe.batch.steps or ceil(recipe.batch.epochs * per_epoch)
    work = plan.operations / max(plan.epochs, 1e-9) / per_epoch
    tokens, targets = micro_batch(recipe, volume)
    parts = peak_memory(recipe, shape, tokens, targets, compute, "cuda")
    width = WIDTH[compute]
    if in_all % fleet.count:
        warnings.append(f"{in_all} micro-batches a step do not share out evenly over {fleet.count} devices")
    if per_epoch < 2:
        warnings.append(f"an epoch is {per_epoch} step: these are more devices than the rows keep busy")
    options = tuple(_option(engine, fleet, shape, parts, width, work, micros, steps) for engine in engines(fleet.count))
    return FleetPlan(
        fleet=str(fleet),
        devices=fleet.count,
        memory=round(fleet.device.memory * GIGA),
        compute=compute,
        steps=steps,
        micros=micros,
        batch=recipe.batch.micro * in_all,
        checkpoint=plan.disk["checkpoint"],
        options=options,
        warnings=tuple(warnings),
    )


def _compute(recipe: Recipe, fleet: Fleet) -> tuple[str, list[str]]:
    wanted = "bf16" if recipe.precision.compute == "auto" else recipe.precision.compute
    if wanted == "bf16" and not fleet.device.bf16:
        return "fp16", [f"{fleet.device.name} has no bf16: planned in fp16 (precision.compute: fp16)"]
    return wanted, []


def _option(
    engine: Engine, fleet: Fleet, shape: Shape, parts: dict[str, int], width: int, work: float, micros: int, steps: int
) -> Option:
    held, host = bytes_per_device(parts, engine, fleet.count, shape, width)
    rate = fleet.device.flops if width == 2 else fleet.device.fp32 or fleet.device.flops / 16
    gathered = min(float(parts["weights"]), float(shape.count * width))
    passes = 3 * gathered + 2 * parts["activations"]
    stepped = 2 * (held["weights"] + held["optimizer"]) + held["gradients"]
    return Option(
        engine=engine.name,
        memory=held,
        host_memory=host,
        fits=sum(held.values()) <= fleet.device.memory * GIGA * (1 - SPARE),
        compute=work / fleet.count / (rate * 1e12 * REACHED),
        bandwidth=(micros * passes + stepped) / (fleet.device.bandwidth * GIGA),
        network=network_seconds(engine, fleet, gathered, parts["gradients"], micros),
        host=host_seconds(engine, fleet, gathered, parts["gradients"], micros),
        steps=steps,
    )
