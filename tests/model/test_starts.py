"""Starts of adapters that touch the frozen weights, on layers that are no plain linear ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM

from luthier.errors import ModelError
from luthier.model.adapters import add_adapter
from luthier.model.load import build_model
from luthier.model.quiet import quiet
from luthier.model.starts import write_relative
from luthier.plan.layers import layer_faults
from luthier.recipe import Recipe
from luthier.recipe.validate import build
from tests.model.chatglm3 import write_checkpoint
from tests.model.test_layer_names import SIZE as NARROW

SIZE: dict[str, Any] = {**NARROW, "hidden_size": 64, "intermediate_size": 128}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
NF4 = {"bits": 4, "compute": "fp32"}
IDS = torch.arange(3, 60)[None]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for name, more in {"gpt2": {}, "qwen3_moe": EXPERTS}.items():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **SIZE, **more)).save_pretrained(root / name)
    write_checkpoint(root / "chatglm3")
    return {name: root / name for name in ("gpt2", "qwen3_moe", "chatglm3")}


def recipe_of(path: Path, quantise: dict[str, Any] | None = None, **adapter: Any) -> Recipe:
    tree = {
        "model": {"path": str(path)},
        "data": {"train": [{"path": "rows.jsonl"}]},
        "adapter": {"kind": "lora", "rank": 4, **adapter},
        "quantise": quantise or {},
    }
    return build(tree, str)


def model_of(recipe: Recipe) -> Any:
    assert recipe.model.path is not None
    return add_adapter(build_model(recipe, 101, Path(recipe.model.path)), recipe)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS, document_lengths=(57,)).logits
    return found


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("init", ["olora", "pissa"])
def test_turned_weights_give_a_start_that_changes_nothing_and_fits_them_once_saved(
    init: str, rslora: bool, models: dict[str, Path], tmp_path: Path
) -> None:
    recipe = recipe_of(models["gpt2"], init=init, rslora=rslora)
    model, plain = model_of(recipe), build_model(recipe, 101, models["gpt2"])
    layer = model.get_base_model().transformer.h[0].attn.c_attn
    taken = (plain.transformer.h[0].attn.c_attn.weight - layer.get_base_layer().weight).detach()
    assert torch.linalg.matrix_rank(taken, rtol=1e-4) == 4
    torch.testing.assert_close(logits(model), logits(plain), rtol=0, atol=1e-5)
    with torch.no_grad():
        layer.lora_B["default"].weight.add_(0.1)
    model.save_pretrained(tmp_path)
    write_relative(model, tmp_path)
    with quiet():
        opened = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(models["gpt2"]), tmp_path)
    with torch.no_grad():
        found = opened.eval()(IDS).logits
    torch.testing.assert_close(found, logits(model.eval()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("init", ["olora", "pissa"])
def test_experts_in_one_tensor_give_no_such_start(init: str, models: dict[str, Path]) -> None:
    [fault] = layer_faults(recipe_of(models["qwen3_moe"], init=init))
    assert fault.place == "adapter.init"
    attention = recipe_of(models["qwen3_moe"], init=init, targets=["q_proj", "o_proj"])
    assert list(layer_faults(attention)) == []
    torch.testing.assert_close(
        logits(model_of(attention)), logits(build_model(attention, 101, models["qwen3_moe"])), rtol=0, atol=1e-5
    )
    if init == "olora":
        with pytest.raises(ModelError, match="experts"):
            model_of(recipe_of(models["qwen3_moe"], init=init))


def test_loftq_starts_nearer_to_turned_weights(models: dict[str, Path]) -> None:
    expected = logits(build_model(recipe_of(models["gpt2"]), 101, models["gpt2"]))
    plain, started = (
        float((logits(model_of(recipe_of(models["gpt2"], NF4, rank=16, init=init))) - expected).norm())
        for init in ("default", "loftq")
    )
    assert started < 0.8 * plain


@pytest.mark.parametrize(("name", "layers"), [("qwen3_moe", 8), ("chatglm3", 12)])
def test_loftq_starts_what_is_quantised(name: str, layers: int, models: dict[str, Path]) -> None:
    model = model_of(recipe_of(models[name], NF4, init="loftq"))
    started = [one for one in model.modules() if getattr(one, "started_from_quantisation", False)]
    assert len(started) == layers
    assert all(one.lora_B["default"].weight.any() for one in started)
    loose = [name for name, one in model.named_parameters() if ".experts." in name and "lora_B" in name and one.any()]
    assert loose == []
