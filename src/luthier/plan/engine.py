"""Which engine carries a recipe, given how many processes there are."""

from __future__ import annotations

from dataclasses import dataclass

from luthier.plan.compute import device_here
from luthier.plan.deepspeed_settings import deepspeed_settings, flat
from luthier.recipe import Recipe

SHARDED = {
    "fsdp": ("adamw", "sgd", "adagrad", "rmsprop"),
    "deepspeed": ("adamw", "sgd", "rmsprop", "lion_32bit"),
}
"""Optimisers that compute each number by itself, so that a part of a matrix is as good as the whole."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """An engine, and why it is not the one asked for (empty where it is, or none was asked for)."""

    name: str
    why: str = ""


def engine_of(recipe: Recipe, processes: int) -> Chosen:
    """The engine that computes what the recipe's would, with nothing that so many processes have no use for."""
    parallel = recipe.parallel
    asked = wanted_engine(recipe)
    offloads = parallel.offload_optimizer or parallel.offload_parameters
    if processes == 1 and not (
        asked in ("fsdp", "deepspeed") and offloads and device_here(recipe.runtime.device) != "cpu"
    ):
        why = "one process has nothing to share out, and the result is the same; --processes starts more"
        return Chosen("single", "" if asked in ("auto", "single") or parallel.engine == "auto" else why)
    if asked in ("fsdp", "deepspeed") and parallel.stage == 0:
        why = "stage 0 shards nothing, which is what ddp does; parallel.stage: 3 shards all"
        return Chosen("ddp", why)
    return Chosen("ddp" if asked == "auto" else asked)


def wanted_engine(recipe: Recipe) -> str:
    """The engine that a recipe asks for by its name or by its settings; auto where it asks for none."""
    parallel = recipe.parallel
    if parallel.engine != "auto":
        return parallel.engine
    if parallel.deepspeed or parallel.deepspeed_config:
        return "deepspeed"
    return "fsdp" if parallel.stage > 0 or parallel.fsdp_config else "auto"


def engine_told(recipe: Recipe, processes: int) -> dict[str, str]:
    """What is to be said of the engine of a recipe, as its file means it: which one runs in so many processes, which
    one in several, and all that DeepSpeed is told, with the recipe's numbers where a file says auto."""
    here = engine_of(recipe, processes).name
    several = engine_of(recipe, max(2, processes)).name
    full = _full(recipe, several)
    told = {"engine": full if here == several else f"{here} in one process; in several {full}"}
    if several == "deepspeed":
        told["deepspeed"] = ", ".join(f"{name} {value}" for name, value in flat(deepspeed_settings(recipe)))
    return told


def _full(recipe: Recipe, engine: str) -> str:
    parallel = recipe.parallel
    if engine not in ("fsdp", "deepspeed"):
        return engine
    shared = ("", "optimiser state", "optimiser state and gradients", "optimiser state, gradients and weights")
    moved = [
        name
        for name, on in (("optimiser state", parallel.offload_optimizer), ("weights", parallel.offload_parameters))
        if on
    ]
    offloaded = f"; {' and '.join(moved)} in host memory" if moved else ""
    return f"{engine}, stage {parallel.stage}: {shared[parallel.stage]} shared out{offloaded}"
