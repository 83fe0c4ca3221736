"""Shapes told from config and headers are those of the models that transformers builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from luthier.errors import ModelError
from luthier.model import shape as shape_module
from luthier.model.as_loaded import Parameters
from luthier.model.shape import Shape, default_intermediate, llama_parameters, shape_of_directory, shape_of_scratch
from luthier.plan.plan import shape_of
from luthier.plan.support import unsupported
from luthier.recipe import validate
from luthier.recipe.model import Scratch

COMMON: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "bos_token_id": None,
    "eos_token_id": None,
}
CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**COMMON),
    "llama tied": LlamaConfig(**COMMON, tie_word_embeddings=True),
    "llama grouped": LlamaConfig(**COMMON, num_key_value_heads=2),
    "llama wide heads": LlamaConfig(**COMMON, num_key_value_heads=1, head_dim=16),
    "qwen2 tied": Qwen2Config(**COMMON, num_key_value_heads=2, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**COMMON, num_key_value_heads=2, head_dim=16),
    "mistral": MistralConfig(**COMMON, num_key_value_heads=2),
    "gpt-neox": GPTNeoXConfig(**COMMON),
    "gpt2": GPT2Config(
        vocab_size=97, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=None, eos_token_id=None
    ),
}


def build(config: PretrainedConfig, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    return AutoModelForCausalLM.from_config(config, dtype=dtype)


def counted(model: PreTrainedModel) -> int:
    """Parameters, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def linear_layers(model: PreTrainedModel) -> dict[str, tuple[int, ...]]:
    from transformers.pytorch_utils import Conv1D

    return {
        name: tuple(module.weight.shape)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not model.get_output_embeddings()
    }


@pytest.fixture(scope="module", params=CONFIGS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[PreTrainedModel, Shape]:
    model = build(CONFIGS[request.param])
    directory = tmp_path_factory.mktemp("model")
    model.save_pretrained(directory)
    return model, shape_of_directory(directory)


def test_parameters_are_counted_as_they_are(saved: tuple[PreTrainedModel, Shape]) -> None:
    model, shape = saved
    assert shape.count == counted(model)
    assert sorted(dimensions for dimensions, _ in shape.parameters.values()) == sorted(
        tuple(parameter.shape) for parameter in model.parameters()
    )


def test_the_linear_layers_are_those_of_the_model_but_the_output(saved: tuple[PreTrainedModel, Shape]) -> None:
    model, shape = saved
    assert shape.linear() == linear_layers(model)


def test_dimensions_are_the_configs(saved: tuple[PreTrainedModel, Shape]) -> None:
    model, shape = saved
    config = model.config
    assert (shape.hidden, shape.layers, shape.heads, shape.vocabulary) == (32, 3, 4, 97)
    assert shape.architecture == config.model_type
    assert shape.head_size == (getattr(config, "head_dim", None) or 8)
    assert shape.kv_heads == getattr(config, "num_key_value_heads", 4)
    assert shape.intermediate == (48 if config.model_type != "gpt2" else 128)


@pytest.mark.parametrize("name", ["llama", "llama tied", "llama grouped", "llama wide heads"])
def test_a_llama_is_known_from_its_config_alone(name: str) -> None:
    model = build(CONFIGS[name])
    found = llama_parameters(json.loads(model.config.to_json_string(use_diff=False)))
    assert {key: dimensions for key, (dimensions, _) in found.items()} == {
        key: tuple(parameter.shape) for key, parameter in model.named_parameters()
    }


@pytest.mark.parametrize(
    "scratch",
    [
        Scratch(hidden=64, layers=2, heads=4),
        Scratch(hidden=64, layers=1, heads=8, kv_heads=2, tie_embeddings=False),
        Scratch(hidden=96, layers=2, heads=4, intermediate=100),
    ],
)
def test_a_model_from_scratch_has_the_shape_that_was_planned(scratch: Scratch) -> None:
    from luthier.model.load import build_model
    from luthier.recipe import Recipe
    from luthier.recipe.model import Model

    model = build_model(Recipe(model=Model(scratch=scratch)), 301, None)
    shape = shape_of_scratch(scratch, 301)
    assert shape.count == counted(model)
    assert shape.linear() == linear_layers(model)
    assert shape.embedding_count == 301 * scratch.hidden


@pytest.mark.parametrize(("hidden", "width"), [(256, 704), (64, 192), (96, 256), (1, 32)])
def test_the_default_width_of_the_mlp_is_8_3_rounded_up_to_32(hidden: int, width: int) -> None:
    assert default_intermediate(hidden) == width


@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 4), (torch.bfloat16, 2), (torch.float16, 2)])
def test_the_stored_width_of_numbers_is_read_from_the_headers(tmp_path: Path, dtype: torch.dtype, width: int) -> None:
    build(CONFIGS["llama"], dtype).save_pretrained(tmp_path)
    assert {bytes_each for _, bytes_each in shape_of_directory(tmp_path).parameters.values()} == {width}


def test_shards_are_added_up(tmp_path: Path) -> None:
    model = build(CONFIGS["llama"])
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert shape_of_directory(tmp_path).count == counted(model)


def test_a_tied_output_layer_that_was_saved_all_the_same_counts_once(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = build(CONFIGS["llama tied"])
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert shape_of_directory(tmp_path).count == counted(model)


def test_a_text_model_inside_a_larger_config_is_found(tmp_path: Path) -> None:
    inner = json.loads(CONFIGS["llama"].to_json_string(use_diff=False))
    build(CONFIGS["llama"]).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sees", "text_config": inner}))
    assert shape_of_directory(tmp_path).hidden == 32


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "has no readable config.json"),
        ("{", "has no readable config.json"),
        ("{}", "config names none of hidden_size"),
        ('{"hidden_size": "32"}', "config names none of hidden_size"),
        ('{"hidden_size": 32}', "config names none of num_hidden_layers"),
    ],
)
def test_a_config_that_does_not_say_what_it_should_is_refused(tmp_path: Path, content: str | None, reason: str) -> None:
    build(CONFIGS["llama"]).save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match=reason) as caught:
        shape_of_directory(tmp_path)
    assert caught.value.faults[0].place == str(tmp_path)


def test_a_model_without_safetensors_is_refused(tmp_path: Path) -> None:
    CONFIGS["llama"].save_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickled")
    with pytest.raises(ModelError, match=r"holds no \.safetensors weights"):
        shape_of_directory(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a safetensors file"),
        (b"short", "not a safetensors file"),
        (b"\xff" * 100, "not a safetensors file"),
        (b"\x05" + b"\0" * 7 + b"{abcd", "header is damaged"),
    ],
)
def test_damaged_weight_files_are_told_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    CONFIGS["llama"].save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=reason) as caught:
        shape_of_directory(tmp_path)
    assert caught.value.faults[0].place.endswith("model.safetensors")


def test_headers_are_read_once_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    own = shape_module._headers

    def headers(directory: Path) -> Parameters:
        read.append(directory)
        return own(directory)

    monkeypatch.setattr(shape_module, "_headers", headers)
    build(CONFIGS["llama"]).save_pretrained(tmp_path)
    tree = {"model": {"path": str(tmp_path)}, "data": {"train": [{"path": "x"}]}, "adapter": {"kind": "lora"}}
    recipe = validate.build(tree, str)
    assert unsupported(recipe) == []
    assert shape_of(recipe, tmp_path).vocabulary == 97
    assert read == [tmp_path]
    build(CONFIGS["llama tied"]).save_pretrained(tmp_path)
    assert "lm_head.weight" not in shape_of(recipe, tmp_path).parameters
    assert read == [tmp_path, tmp_path]


def test_a_download_that_was_broken_off_is_told_before_anything_is_prepared(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_config(LlamaConfig(**COMMON))
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    recipe = validate.build({"model": {"path": str(tmp_path)}, "data": {"train": [{"path": "rows.jsonl"}]}}, str)
    assert unsupported(recipe) == []
    files = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(files) > 2
    files[1].unlink()
    [fault] = unsupported(recipe)
    assert fault.place == str(tmp_path / "model.safetensors.index.json")
    assert fault.reason == f"1 of its {len(files)} files of weights are missing: {files[1].name}"
    with pytest.raises(ModelError, match="files of weights are missing"):
        shape_of_directory(tmp_path)
