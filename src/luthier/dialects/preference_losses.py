"""TRL's names of preference losses -> our method and its terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from luthier.dialects.table import Cannot
from luthier.recipe.method import Method

LOSSES: tuple[str, ...] = get_args(Method.model_fields["loss"].annotation)
"""DPO's own loss and those that take its place."""

NO_DROPOUT = "TRL's trainers of judged answers, which run it upstream, switch off every dropout, an adapter's too"
"""Said of an adapter's dropout: ``disable_dropout``, on unless it is set, acts on the model with its adapter."""


def of_dpo(given: Sequence[str], weights: Sequence[float]) -> dict[str, Any]:
    """The settings of DPOConfig's ``loss_type``: one loss, and ``sft`` beside it with a weight of its own.

    Raises:
        Cannot: other losses, or several of them.
    """
    parts = dict(zip(given, weights or [1.0] * len(given), strict=False))
    likelihood = parts.pop("sft", None)
    name, weight = next(iter(parts.items()), ("", 0.0))
    if len(parts) != 1 or name not in LOSSES or weight != 1:
        raise Cannot(
            f"the loss {', '.join(given)} is not there",
            f"write one of: {', '.join(LOSSES)}, with sft beside it and a weight of 1, if at all",
        )
    made: dict[str, Any] = {"method.kind": "ipo"} if name == "ipo" else {"method.kind": "dpo"}
    if name not in ("sigmoid", "ipo"):
        made["method.loss"] = name
    return made if likelihood is None else {**made, "method.nll_weight": float(likelihood)}


def of_cpo(name: str) -> dict[str, Any]:
    """The settings of CPOConfig's ``loss_type``.

    Raises:
        Cannot: another loss.
    """
    if name == "simpo":
        return {"method.kind": "simpo"}
    if name not in ("sigmoid", "hinge", "ipo"):
        raise Cannot(f"the loss {name} is not there", "write sigmoid, hinge, ipo or simpo")
    return {"method.kind": "cpo", **({} if name == "sigmoid" else {"method.loss": name})}
