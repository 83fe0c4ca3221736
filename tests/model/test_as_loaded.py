"""Names and shapes told from a checkpoint's headers are those of the model that transformers loads from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from luthier.model.as_loaded import BODIES
from luthier.model.shape import shape_of_directory

SIZE: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
MORE: dict[str, dict[str, Any]] = {
    "gemma3_text": {"head_dim": 8},
    "opt": {"word_embed_proj_dim": 32, "ffn_dim": 48},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 8, "chunk_size": 16},
    "mixtral": {"num_local_experts": 4, "num_key_value_heads": 4},
    "qwen2_moe": {"num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16},
    "qwen3_moe": {"num_experts": 4, "moe_intermediate_size": 16, "head_dim": 8, "num_key_value_heads": 4},
    "gpt_oss": {"num_local_experts": 4, "head_dim": 8, "num_key_value_heads": 4},
    "deepseek_v3": {
        "n_routed_experts": 4,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 16,
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
    },
}


def save(architecture: str, directory: Path, **changes: Any) -> Any:
    config = AutoConfig.for_model(architecture, **{**SIZE, **MORE.get(architecture, {}), **changes})
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(directory)
    return model


def named(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(one.shape) for name, one in model.named_parameters()}


def told(directory: Path) -> dict[str, tuple[int, ...]]:
    return {name: dimensions for name, (dimensions, _) in shape_of_directory(directory).parameters.items()}


@pytest.mark.parametrize("architecture", BODIES)
def test_parameters_are_called_as_in_the_model(architecture: str, tmp_path: Path) -> None:
    save(architecture, tmp_path)
    assert told(tmp_path) == named(AutoModelForCausalLM.from_pretrained(tmp_path))


@pytest.mark.parametrize("architecture", ["gpt2", "bloom", "falcon", "opt", "llama"])
def test_the_name_of_the_body_is_put_before_names_that_lack_it(architecture: str, tmp_path: Path) -> None:
    """As GPT-2 and Bloom lie on the hub; GPT-2 with the masks that it once had."""
    save(architecture, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    bare = {name.removeprefix(f"{BODIES[architecture]}."): one for name, one in weights.items()}
    if architecture == "gpt2":
        bare["h.0.attn.bias"] = torch.ones(1, 1, 8, 8)
    save_file(bare, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert told(tmp_path) == named(AutoModelForCausalLM.from_pretrained(tmp_path))
    sources = shape_of_directory(tmp_path).sources
    assert {name for olds in sources.values() for name in olds} <= bare.keys()
    assert sources


def test_a_parameter_tells_what_of_the_checkpoint_it_is_made_of(tmp_path: Path) -> None:
    save("mixtral", tmp_path)
    sources = shape_of_directory(tmp_path).sources
    assert sources["model.layers.0.mlp.gate.weight"] == ("model.layers.0.block_sparse_moe.gate.weight",)
    stem = "model.layers.0.block_sparse_moe.experts"
    assert set(sources["model.layers.0.mlp.experts.down_proj"]) == {f"{stem}.{one}.w2.weight" for one in range(4)}
    assert len(sources["model.layers.0.mlp.experts.gate_up_proj"]) == 8
    assert "model.norm.weight" not in sources


def test_a_token_is_multiplied_by_the_experts_that_it_goes_to(tmp_path: Path) -> None:
    save("mixtral", tmp_path, num_experts_per_tok=2)
    name, numbers = "model.layers.0.mlp.experts.down_proj", 32 * 48
    assert shape_of_directory(tmp_path).products()[name] == 2 * numbers
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_experts_per_tok": None}))
    assert shape_of_directory(tmp_path).products()[name] == 4 * numbers
