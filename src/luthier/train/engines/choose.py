"""The engine that carries a recipe."""

from __future__ import annotations

from typing import cast

from luthier.environment import choose_deepspeed_device
from luthier.plan.engine import engine_of
from luthier.recipe import Recipe
from luthier.registry import resolve
from luthier.train.engines.engine import Engine
from luthier.train.ranks import Ranks


def engine_for(recipe: Recipe, ranks: Ranks) -> Engine:
    """The recipe's engine, in this process's place.

    Raises:
        RunError: its device or what it needs is not there.
    """
    name = engine_of(recipe, ranks.count).name
    kind = resolve("engines", name)
    engine = cast(Engine, kind(recipe) if name == "single" else kind(recipe, ranks))
    choose_deepspeed_device(engine.device.type)
    return engine
