"""Merging where a base's files name or shape their weights otherwise than the model in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from luthier.model.adapters import add_adapter
from luthier.model.agreement import TOLERANCE
from luthier.model.load import build_model
from luthier.model.merge import Merged, merge
from luthier.model.save import open_on_base, save_model
from luthier.recipe.validate import build
from tests.conftest import World
from tests.model.chatglm3 import write_checkpoint
from tests.model.test_adapters import NF4, shaken

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": None,
}
pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to")
LORA: dict[str, Any] = {"kind": "lora", "rank": 4}


def random_model(place: Path, architecture: str, world: World, **changes: Any) -> Path:
    """A tiny model whose every weight has some size, biases and norms too."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **{**SIZES, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    model.save_pretrained(place)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (place / name).write_bytes((world.model / name).read_bytes())
    return place


def trained(base: Path, out: Path, **sections: Any) -> Path:
    """An adapter with weights of some size, saved as a run saves it."""
    recipe = build({"model": {"path": str(base)}, "data": {"train": [{"path": "x"}]}, **sections}, str)
    model = shaken(add_adapter(build_model(recipe, 300, base), recipe))
    save_model(model, out, tokenizer=base, chat_template=None, stops=[], base=str(base))
    return out


def merged(base: Path, tmp_path: Path, adapter: dict[str, Any], **sections: Any) -> Merged:
    """The adapter on the base, merged; the logits of both were compared."""
    directory = trained(base, tmp_path / "adapter", adapter={**LORA, **adapter}, **sections)
    done = merge(directory, tmp_path / "merged")
    ids = torch.tensor([[5, 9, 11, 30, 7, 41]])
    with torch.no_grad():
        wanted = open_on_base(directory, base, "sdpa", torch.float32)(ids, use_cache=False).logits
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(ids, use_cache=False).logits
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    assert done.dtype == "float32" and done.error < 1e-5 < done.effect
    return done


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_biases_that_trained_are_merged(architecture: str, bias: str, world: World, tmp_path: Path) -> None:
    targets = ["c_attn", "c_proj"] if architecture == "gpt2" else ["q_proj", "v_proj"]
    base = random_model(tmp_path / "base", architecture, world)
    done = merged(base, tmp_path, {"bias": bias, "targets": targets})
    assert done.effect > 1e-2


def test_the_turned_weights_of_a_quantised_model_are_merged(world: World, tmp_path: Path) -> None:
    """Quantised, a layer of GPT-2 is a plain linear one, whose LoRA says nothing of how the files hold its weight."""
    base = random_model(tmp_path / "base", "gpt2", world, n_inner=64)
    merged(base, tmp_path, {"targets": ["c_attn", "c_proj"]}, quantise=NF4)


@pytest.mark.parametrize(
    ("architecture", "adapter", "changes"),
    [
        ("gpt2", {"targets": ["c_attn", "wte"]}, {}),
        ("gpt2", {"targets": ["c_attn"], "modules_to_save": ["wpe"]}, {}),
        ("bloom", {"targets": ["query_key_value"], "modules_to_save": ["word_embeddings"]}, {"n_head": 4}),
    ],
)
def test_files_whose_names_have_no_prefix(
    architecture: str, adapter: dict[str, Any], changes: dict[str, Any], world: World, tmp_path: Path
) -> None:
    base = random_model(tmp_path / "base", architecture, world, **changes)
    path = base / "model.safetensors"
    save_file({name.removeprefix("transformer."): one for name, one in load_file(path).items()}, path, {"format": "pt"})
    merged(base, tmp_path, adapter)


MIXTURE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "num_local_experts": 4}


@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys did not match:RuntimeWarning")
@pytest.mark.parametrize(
    ("architecture", "adapter"),
    [
        ("qwen3_moe", {}),
        ("mixtral", {}),
        ("mixtral", {"targets": ["q_proj"], "modules_to_save": ["gate"]}),
        ("gpt_neox", {"targets": ["query_key_value"], "modules_to_save": ["lm_head"]}),
        ("gpt_neox", {"targets": ["query_key_value", "lm_head"]}),
    ],
)
def test_weights_that_files_name_otherwise(
    architecture: str, adapter: dict[str, Any], world: World, tmp_path: Path
) -> None:
    mixture = {} if architecture == "gpt_neox" else MIXTURE
    base = random_model(tmp_path / "base", architecture, world, **mixture)
    merged(base, tmp_path, adapter)
    names = [set(load_file(place / "model.safetensors")) for place in (base, tmp_path / "merged")]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("architecture", "embedding", "target"),
    [("bloom", "word_embeddings", "query_key_value"), ("gpt_neox", "embed_in", "query_key_value")],
)
def test_an_embedding_by_any_name_comes_apart_from_the_output(
    architecture: str, embedding: str, target: str, world: World, tmp_path: Path
) -> None:
    base = random_model(tmp_path / "base", architecture, world, tie_word_embeddings=True, n_head=4)
    merged(base, tmp_path, {"targets": [target], "modules_to_save": [embedding]})
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["tie_word_embeddings"] is False


@pytest.mark.parametrize(
    ("architecture", "targets"), [("llama", ["embed_tokens", "q_proj"]), ("gpt2", ["wte", "c_attn"])]
)
def test_dora_of_an_embedding(architecture: str, targets: list[str], world: World, tmp_path: Path) -> None:
    base = random_model(tmp_path / "base", architecture, world)
    merged(base, tmp_path, {"targets": targets, "dora": True})


@pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys did not match:RuntimeWarning")
def test_what_is_merged_in_memory_keeps_the_type_of_each_weight(world: World, tmp_path: Path) -> None:
    base = random_model(tmp_path / "base", "mixtral", world, **MIXTURE)
    path = base / "model.safetensors"
    narrow = {name: one if "norm" in name else one.bfloat16() for name, one in load_file(path).items()}
    save_file(narrow, path, {"format": "pt"})
    adapter = trained(base, tmp_path / "adapter", adapter=LORA)
    done = merge(adapter, tmp_path / "merged")
    found = load_file(tmp_path / "merged" / "model.safetensors")
    assert {name: one.dtype for name, one in found.items()} == {name: one.dtype for name, one in narrow.items()}
    assert done.dtype == "bfloat16" and 1e-6 < done.error < TOLERANCE[torch.bfloat16] and done.error < done.effect
    assert merge(adapter, tmp_path / "wide", dtype="fp32").error < 1e-5
    assert {one.dtype for one in load_file(tmp_path / "wide" / "model.safetensors").values()} == {torch.float32}


def test_onto_a_chatglm3_a_glm_is_written(world: World, tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / name).write_bytes((world.model / name).read_bytes())
    merged(base, tmp_path, {"targets": ["q_proj", "dense"], "bias": "lora_only"})
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["model_type"] == "glm"
