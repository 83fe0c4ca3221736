"""Seconds that devices spend sending, under each engine.

A ring's all-gather or reduce-scatter of V bytes over n devices sends (n - 1) / n x V from each, an all-reduce both
(Patarasuk and Yuan 2009). Across machines it goes in two levels: within each at the devices' own links, between them
once per machine at the sum of its devices' networks. ZeRO's stages 0 to 2 send as much as an all-reduce of the
gradients; stage 3 gathers all weights for the forward and again for the backward pass of each micro-batch, and scatters
its gradients (Rajbhandari et al. 2020, section 7).
"""

from __future__ import annotations

from luthier.plan.hardware import Fleet
from luthier.plan.sharing import Engine

GIGA = 1e9


def collective_seconds(size: float, fleet: Fleet) -> float:
    """Seconds of one all-gather or reduce-scatter of ``size`` bytes over all devices."""
    inside = (fleet.each - 1) / fleet.each * size / (fleet.device.link * GIGA)
    between = (fleet.nodes - 1) / fleet.nodes * size / (fleet.device.network * fleet.each * GIGA)
    return inside + between


def network_seconds(engine: Engine, fleet: Fleet, weights: float, gradients: float, micros: int) -> float:
    """Seconds of sending in a step.

    Args:
        weights: bytes of all weights as they are gathered; ``gradients``: bytes of the trained ones' gradients.
        micros: micro-batches of each device in a step.
    """
    if engine.stage < 3:
        return 2 * collective_seconds(gradients, fleet)
    return micros * (2 * collective_seconds(weights, fleet) + collective_seconds(gradients, fleet))


def host_seconds(engine: Engine, fleet: Fleet, weights: float, gradients: float, micros: int) -> float:
    """Seconds of copying between a device and its host in a step: its share of the gradients down and of the new
    weights up; of the weights for each pass where they live there."""
    if not (engine.optimizer_on_host or engine.weights_on_host):
        return 0.0
    share = fleet.count if engine.stage >= 1 else 1
    passes = 2 * micros * weights if engine.weights_on_host else gradients
    return (gradients + passes) / share / (fleet.device.host * GIGA)
