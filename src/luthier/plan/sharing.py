"""Bytes that each of N devices holds under each engine.

Rajbhandari et al. 2020 ("ZeRO", section 5): of weights W, gradients G and optimiser state O, stage 1 shares out O,
stage 2 G as well, stage 3 (FSDP's full sharding) W as well. What is shared out is gathered again a layer at a time, in
the compute type, the next one while the last is at work: two units at once (Zhao et al. 2023, section 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from luthier.model.shape import Shape

CONTEXT = 1 << 30
"""Bytes of a device that the driver, its libraries and the collectives' buffers take: assumed, about a gigabyte."""

SPARE = 0.05
"""Share of a device's memory that the allocator cannot use for the gaps in it: assumed."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A way to share out a run; ``stage`` as in ``parallel.stage``."""

    name: str
    stage: int
    optimizer_on_host: bool = False
    weights_on_host: bool = False


ENGINES = (
    Engine("ddp", 0),
    Engine("zero 1", 1),
    Engine("zero 2", 2),
    Engine("zero 2, host optimiser", 2, True),
    Engine("zero 3 / fsdp", 3),
    Engine("zero 3, host optimiser", 3, True),
    Engine("zero 3, all on host", 3, True, True),
)
ALONE = (Engine("single", 0), Engine("single, host optimiser", 0, True))


def engines(devices: int) -> tuple[Engine, ...]:
    """The engines that so many devices may run."""
    return ENGINES if devices > 1 else ALONE


def largest_unit(shape: Shape) -> int:
    """Numbers in the largest part that sharded weights are gathered in: a layer, or the embedding."""
    sizes: dict[str, int] = {}
    for name, (dimensions, _) in shape.parameters.items():
        before, found, after = name.partition(".layers.")
        unit = f"{before}{found}{after.split('.')[0]}" if found else name
        sizes[unit] = sizes.get(unit, 0) + prod(dimensions)
    return max(sizes.values(), default=0)


def bytes_per_device(
    parts: Mapping[str, int], engine: Engine, devices: int, shape: Shape, width: int
) -> tuple[dict[str, int], int]:
    """(bytes by part on each device, bytes on the host for each device).

    Args:
        parts: what one device holds without sharing, as ``plan.memory.peak_memory`` tells it.
        width: bytes of a number in the compute type.
    """
    share = {
        "weights": devices if engine.stage >= 3 else 1,
        "gradients": devices if engine.stage >= 2 else 1,
        "optimizer": devices if engine.stage >= 1 else 1,
    }
    held = {name: -(-size // share.get(name, 1)) for name, size in parts.items() if name != "process"}
    host = 0
    for name in ("optimizer",) * engine.optimizer_on_host + ("weights", "gradients") * engine.weights_on_host:
        host, held[name] = host + held[name], 0
    if engine.stage >= 3:
        held["gathered"] = 2 * largest_unit(shape) * width
    return {**held, "driver": CONTEXT}, host
