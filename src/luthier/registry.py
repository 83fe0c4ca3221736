"""Names a recipe may use -> the code behind them, imported only when asked for.

Each table maps a name to ``"module:attribute"``. Packages add rows through the entry-point group
``luthier.<table>``; a recipe may also write ``"module:attribute"`` itself for its author's own code.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from luthier.errors import RecipeError, nearest

TABLES: dict[str, dict[str, str]] = {
    "formats": {
        "alpaca": "luthier.data.formats.alpaca:read",
        "human_assistant": "luthier.data.formats.human_assistant:read",
        "messages": "luthier.data.formats.messages:read",
        "text": "luthier.data.formats.text:read",
    },
    "methods": {
        "pretrain": "luthier.methods.causal:Pretrain",
        "sft": "luthier.methods.causal:SupervisedFineTuning",
    },
    "optimizers": {
        "adamw": "luthier.train.optimizer:adamw",
        "sgd": "luthier.train.optimizer:sgd",
    },
    "schedules": {
        "constant": "luthier.train.schedule:constant",
        "cosine": "luthier.train.schedule:cosine",
        "linear": "luthier.train.schedule:linear",
    },
    "metrics": {
        "exact_match": "luthier.evaluate.metrics:exact_match",
    },
    "engines": {
        "single": "luthier.train.engines.single:SingleDevice",
    },
    "dialects": {
        "axolotl": "luthier.dialects.axolotl:AXOLOTL",
        "chatglm3": "luthier.dialects.chatglm3:CHATGLM3",
        "firefly": "luthier.dialects.firefly:FIREFLY",
        "luthier": "luthier.dialects.native:NATIVE",
        "peft_sft": "luthier.dialects.peft_sft:PEFT_SFT",
        "training_arguments": "luthier.dialects.training_arguments:TRAINING_ARGUMENTS",
    },
}


def names(table: str) -> list[str]:
    """All names of a table, ours and those of installed packages, sorted."""
    return sorted({*TABLES[table], *(point.name for point in entry_points(group=f"luthier.{table}"))})


def known(table: str, name: str) -> bool:
    """Whether ``resolve`` would look anything up for ``name`` (nothing is imported)."""
    return ":" in name or name in names(table)


def resolve(table: str, name: str) -> Any:
    """The object behind ``name``.

    Raises:
        RecipeError: the name is in no table; the nearest known one is suggested.
    """
    target = TABLES[table].get(name)
    if target is None and ":" in name:
        target = name
    if target is None:
        for point in entry_points(group=f"luthier.{table}", name=name):
            return point.load()
        suggestion = nearest(name, names(table))
        raise RecipeError(
            f"{name!r} is not one of the {table}",
            remedy=f"did you mean {suggestion!r}?" if suggestion else f"choose one of: {', '.join(names(table))}",
        )
    module, _, attribute = target.partition(":")
    if not module or module.startswith(".") or not attribute:
        raise RecipeError(f"{name!r} names no module and attribute", remedy="write it as module:attribute")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        if target == TABLES[table].get(name):
            raise
        raise RecipeError(
            f"{name!r} could not be loaded: {error}",
            remedy="write it as module:attribute, with the module importable from here",
        ) from error
