"""What a reference costs: a copy of the weights, a forward pass, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.model.shape import shape_of_scratch
from luthier.plan.compute import operations
from luthier.plan.memory import peak_memory
from luthier.plan.preferences import reference_of
from luthier.recipe import Recipe
from luthier.recipe.model import Scratch
from luthier.recipe.validate import build

SHAPE = shape_of_scratch(Scratch(hidden=32, layers=2, heads=4), 100)


def recipe(adapter: str, **method: Any) -> Recipe:
    sections = {"model": {"path": "m"}, "data": {"train": [{"path": "a"}]}}
    return build({**sections, "method": method, "adapter": {"kind": adapter}}, str)


@pytest.mark.parametrize(
    ("adapter", "method", "cost"),
    [
        ("none", {"kind": "dpo"}, "copy"),
        ("lora", {"kind": "kto"}, "pass"),
        ("lora", {"kind": "ipo", "reference": "model"}, "copy"),
        ("none", {"kind": "dpo", "reference": "precomputed"}, ""),
        ("none", {"kind": "dpo", "reference": "none"}, ""),
        ("none", {"kind": "orpo"}, ""),
        ("none", {"kind": "sft"}, ""),
    ],
)
def test_a_reference_costs_memory_and_operations(adapter: str, method: dict[str, Any], cost: str) -> None:
    asked, plain = recipe(adapter, **method), recipe(adapter, kind="sft")
    assert reference_of(asked) == cost
    memory, without = (peak_memory(one, SHAPE, 64, 32, "fp32") for one in (asked, plain))
    assert memory.get("reference", 0) == (without["weights"] if cost == "copy" else 0)
    more = operations(asked, SHAPE, 64, 32, 64.0) - operations(plain, SHAPE, 64, 32, 64.0)
    linear = sum(rows * columns for rows, columns in SHAPE.linear().values())
    attention = 64.0 * SHAPE.heads * SHAPE.head_size * SHAPE.layers
    expected = 2.0 * (linear * 64 + attention + SHAPE.vocabulary * SHAPE.hidden * 32)
    assert more == pytest.approx(expected if cost else 0.0)
