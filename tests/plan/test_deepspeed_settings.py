"""A recipe's sharding as DeepSpeed is told it."""

from __future__ import annotations

from luthier.plan.deepspeed_settings import deepspeed_settings, nested
from luthier.recipe.validate import build


def test_a_files_own_settings_are_handed_on_and_the_recipes_win() -> None:
    parallel = {
        "engine": "deepspeed",
        "stage": 3,
        "offload_optimizer": True,
        "deepspeed_config": {
            "zero_optimization.sub_group_size": 5,
            "zero_optimization.offload_optimizer.pin_memory": True,
            "zero_optimization.offload_param.pin_memory": True,
            "communication_data_type": "fp32",
        },
    }
    tree = {
        "model": {"path": "m"},
        "data": {"train": [{"path": "r"}]},
        "parallel": parallel,
        "optimizer": {"clip": 0.5},
    }
    settings = deepspeed_settings(build(tree, str))
    assert settings["zero_optimization"] == {
        "sub_group_size": 5,
        "stage": 3,
        "offload_optimizer": {"pin_memory": True, "device": "cpu"},
    }
    assert settings["gradient_clipping"] == 0.5 and settings["communication_data_type"] == "fp32"


def test_names_with_dots_are_a_tree() -> None:
    assert nested({"a.b": 1, "a": {"c": {"d": 2}}, "x": 3}) == {"a": {"b": 1, "c": {"d": 2}}, "x": 3}
