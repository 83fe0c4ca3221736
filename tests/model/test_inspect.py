"""What inspect tells without weights is what the real models have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from luthier.errors import ModelError
from luthier.model.adapters import add_adapter
from luthier.model.inspect import inspect_directory, inspect_recipe, part_of
from luthier.model.load import build_model
from luthier.model.quantise import is_quantised
from luthier.recipe.validate import build
from tests.conftest import make_model
from tests.model.chatglm3 import write_checkpoint
from tests.model.test_adapters import KINDS

NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16"}
MORE: dict[str, dict[str, Any]] = {
    "full": {},
    "full bf16": {"model": {"dtype": "bf16"}},
    "last layer": {"model": {"last_layers": 1}},
    "patterns": {"model": {"trainable": [r"layers\.0\.mlp", "norm"]}},
    "lora in fp32": {"adapter": {"kind": "lora"}, "model": {"dtype": "fp32"}},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = make_model(tmp_path_factory.mktemp("base"), 300)
    AutoModelForCausalLM.from_pretrained(place, dtype=torch.bfloat16).save_pretrained(place)
    return place


@pytest.mark.parametrize("kind", [*MORE, *KINDS])
def test_before_and_after_are_those_of_the_model_that_trains(kind: str, base: Path) -> None:
    sections = {**(MORE.get(kind) or KINDS.get(kind) or {})}
    sections["model"] = {"path": str(base), **sections.get("model", {})}
    recipe = build({"data": {"train": [{"path": "x"}]}, **sections}, str)
    before, after = inspect_recipe(recipe, base, 300)
    model = add_adapter(build_model(recipe, 300, base), recipe)
    real = {name.replace(".default", ""): one for name, one in model.named_parameters()}
    told = {one.name: one for one in after.parameters}
    assert told.keys() == real.keys()
    code = {4: recipe.quantise.kind, 8: "int8", 16: ""}[recipe.quantise.bits]
    for name, one in real.items():
        assert told[name].trains == one.requires_grad, name
        assert told[name].quantised == (code if is_quantised(one) else ""), name
        if not is_quantised(one):
            assert told[name].shape == tuple(one.shape), name
            assert told[name].dtype == NAMES[one.dtype], name
    assert {one.dtype for one in before.parameters} == {"bf16"} and all(one.trains for one in before.parameters)
    assert sum(one.count for one in before.parameters) == AutoModelForCausalLM.from_pretrained(base).num_parameters()


CHATGLM: dict[str, dict[str, Any]] = {
    "full": {},
    "reward": {"method": {"kind": "reward"}},
    "last layer": {"model": {"last_layers": 1}},
    "lora": {"adapter": {"kind": "lora", "targets": ["query_key_value"]}},
    "nf4": {"adapter": {"kind": "lora", "targets": ["query_key_value", "dense"]}, "quantise": {"bits": 4}},
    "prefix": {"adapter": {"kind": "prefix", "virtual_tokens": 5}},
    "new tokens": {"adapter": {"kind": "lora", "targets": ["query_key_value"]}},
}


@pytest.fixture(scope="module")
def chatglm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("inspected") / "chatglm3")


@pytest.mark.parametrize("kind", CHATGLM)
def test_a_chatglm_checkpoint_is_told_as_it_trains(kind: str, chatglm: Path) -> None:
    sections = {**CHATGLM[kind]}
    sections["model"] = {"path": str(chatglm), **sections.get("model", {})}
    recipe = build({"data": {"train": [{"path": "x"}]}, **sections}, str)
    new = (520, 521) if kind == "new tokens" else ()
    rows = 520 + len(new)
    before, after = inspect_recipe(recipe, chatglm, rows, new)
    real = {
        name.replace(".default", ""): one
        for name, one in add_adapter(build_model(recipe, rows, chatglm), recipe, new).named_parameters()
    }
    told = {one.name: one for one in after.parameters}
    assert told.keys() == real.keys()
    assert {name for name, one in told.items() if one.trains} == {
        name for name, one in real.items() if one.requires_grad
    }
    assert {name for name, one in told.items() if one.quantised} == {
        name for name, one in real.items() if is_quantised(one)
    }
    assert all(told[name].shape == tuple(one.shape) for name, one in real.items() if not is_quantised(one))
    assert before.architecture == "glm" and {one.dtype for one in before.parameters} == {"fp32"}
    assert sum(one.count for one in before.parameters) == sum(
        one.count for one in inspect_directory(chatglm).parameters if "rotary" not in one.name
    )


def test_a_directory_is_told_from_its_files(base: Path) -> None:
    found = inspect_directory(base)
    real = AutoModelForCausalLM.from_pretrained(base)
    assert {one.name: one.shape for one in found.parameters} == {
        name: tuple(one.shape) for name, one in real.named_parameters()
    }
    totals = found.totals()
    assert totals["all"]["parameters"] == real.num_parameters() and totals["all"]["bytes"] == 2 * real.num_parameters()
    assert sum(totals[part]["parameters"] for part in totals if part != "all") == totals["all"]["parameters"]
    assert "other" not in totals


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True), "nf4"),
        (BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="fp4"), "fp4"),
        (BitsAndBytesConfig(load_in_8bit=True), "int8"),
    ],
    ids=["nf4", "fp4", "int8"],
)
def test_a_quantised_directory_counts_weights_not_bytes(
    config: BitsAndBytesConfig, code: str, base: Path, tmp_path: Path
) -> None:
    full = inspect_directory(base)
    model = AutoModelForCausalLM.from_pretrained(base, quantization_config=config, device_map={"": "cpu"})
    model.save_pretrained(tmp_path)
    packed = inspect_directory(tmp_path)
    assert [one.name for one in packed.parameters] and packed.totals()["all"]["parameters"] == (
        full.totals()["all"]["parameters"]
    )
    assert {one.name for one in packed.parameters if one.quantised == code} == {
        one.name for one in full.parameters if "_proj" in one.name
    }
    assert {one.name: one.shape for one in packed.parameters} == {one.name: one.shape for one in full.parameters}
    assert code == "int8" or {one.dtype for one in packed.parameters} == {one.dtype for one in full.parameters}


def test_like_layers_are_folded(base: Path) -> None:
    rows = inspect_directory(base).folded()
    assert [(one.name, tensors) for one, tensors in rows if "q_proj" in one.name] == [
        ("model.layers.0..1.self_attn.q_proj.weight", 2)
    ]
    assert sum(tensors for _, tensors in rows) == len(inspect_directory(base).parameters)


def test_names_of_other_architectures_have_their_parts() -> None:
    names = {
        "transformer.encoder.layers.0.self_attention.query_key_value.weight": "attention",
        "transformer.encoder.layers.0.mlp.dense_4h_to_h.weight": "mlp",
        "transformer.embedding.word_embeddings.weight": "embeddings",
        "transformer.output_layer.weight": "output",
        "gpt_neox.layers.0.attention.dense.weight": "attention",
        "model.layers.0.post_attention_layernorm.weight": "norms",
        "prompt_embeddings": "adapter",
        "prompt_encoder.default.embedding.weight": "adapter",
    }
    assert {name: part_of(name) for name in names} == names


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither a run nor a model"):
        inspect_directory(tmp_path)
