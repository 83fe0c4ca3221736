"""Expressions of model.trainable mean what they say of the model, or of the checkpoint that it is loaded from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from luthier.errors import ModelError
from luthier.model.load import build_model
from luthier.model.shape import shape_of_directory
from luthier.plan.layers import trainable_faults
from luthier.plan.parameters import trainable_parameters
from luthier.recipe import Recipe
from luthier.recipe.validate import build
from tests.model.chatglm3 import write_checkpoint
from tests.model.test_as_loaded import save


def recipe_of(path: Path, *patterns: str, **sections: Any) -> Recipe:
    tree = {"model": {"path": str(path), "trainable": list(patterns)}, "data": {"train": [{"path": "rows.jsonl"}]}}
    return build({**tree, **sections}, str)


def freed(path: Path, recipe: Recipe) -> dict[str, int]:
    model = build_model(recipe, 0, path)
    return {name: one.numel() for name, one in model.named_parameters() if one.requires_grad}


def write(architecture: str, directory: Path) -> Path:
    """A checkpoint with names of its own: GPT-2's as on the hub."""
    if architecture == "chatglm":
        write_checkpoint(directory)
        return directory
    save(architecture, directory)
    if architecture == "gpt2":
        weights = load_file(directory / "model.safetensors")
        bare = {name.removeprefix("transformer."): one for name, one in weights.items()}
        save_file(bare, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


OWN: list[tuple[str, tuple[str, ...], str]] = [
    ("mixtral", (r"block_sparse_moe\.experts\.",), "experts.down_proj"),
    ("mixtral", (r"layers\.1\.block_sparse_moe\.experts\.\d\.w[13]",), "layers.1.mlp.experts.gate_up_proj"),
    ("mixtral", (r"\.w1\.", r"\.w3\.", "lm_head"), "experts.gate_up_proj"),
    ("mixtral", (r"layers\.0\.mlp\.experts\.gate_up_proj$",), "layers.0.mlp.experts.gate_up_proj"),
    ("gpt2", (r"^h\.0\.", "^ln_f"), "transformer.h.0.ln_1.weight"),
    ("gpt2", (r"^transformer\.h\.0\.",), "transformer.h.0.ln_1.weight"),
    ("gpt_neox", ("^embed_out",), "lm_head.weight"),
    ("chatglm", ("query_key_value",), "self_attn.k_proj.weight"),
    ("chatglm", (r"^transformer\.encoder\.layers\.1\.", "output_layer"), "model.layers.1.mlp.down_proj.weight"),
]


@pytest.mark.parametrize(("architecture", "patterns", "name"), OWN, ids=str)
def test_names_of_the_checkpoint_mean_what_is_made_of_them(
    architecture: str, patterns: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    recipe = recipe_of(write(architecture, tmp_path), *patterns)
    assert list(trainable_faults(recipe)) == []
    found = freed(tmp_path, recipe)
    assert any(one.endswith(name) for one in found)
    shape = shape_of_directory(tmp_path)
    assert trainable_parameters(recipe, shape) == sum(found.values()) < shape.count


WRONG: list[tuple[str, tuple[str, ...], str, str]] = [
    ("llama", (r"layers\.0\.", "o_porj"), "'o_porj' is found in no parameter's name", "did you mean o_proj?"),
    ("llama", (r"model\.layers\.7\.",), "'model", "such as model.layers.0.input_layernorm.weight"),
    ("chatglm", ("query_key_valeu",), "'query_key_valeu'", "did you mean query_key_value?"),
    ("gpt2", ("lm_head",), "'lm_head' is found in no parameter's name: the output", "write transformer.wte.weight"),
    ("gpt2", (r"h\.1\.", "^lm_head.weight$"), "the output layer's weight is the embedding's", "which trains both"),
    ("mixtral", (r"experts\.0\.",), "one tensor of 4 of the checkpoint's, 1 are meant", "write down_proj"),
    ("mixtral", (r"\.w1\.", r"\.w2\."), "one tensor of 8 of the checkpoint's, 4 are meant", "write gate_up_proj"),
]


@pytest.mark.parametrize(("architecture", "patterns", "reason", "remedy"), WRONG, ids=str)
def test_what_means_nothing_or_a_part_is_refused_before_the_model_is_loaded_and_then(
    architecture: str, patterns: tuple[str, ...], reason: str, remedy: str, tmp_path: Path
) -> None:
    recipe = recipe_of(write(architecture, tmp_path), *patterns)
    [fault] = trainable_faults(recipe)
    assert fault.place == "model.trainable"
    assert reason in fault.reason
    assert remedy in fault.remedy
    with pytest.raises(ModelError) as caught:
        freed(tmp_path, recipe)
    assert caught.value.faults == (fault,)


def test_a_tied_output_layer_may_be_named_beside_the_embedding(tmp_path: Path) -> None:
    recipe = recipe_of(write("gpt2", tmp_path), "^lm_head.weight$", "wte")
    assert list(trainable_faults(recipe)) == []
    assert freed(tmp_path, recipe).keys() == {"transformer.wte.weight"}


def test_a_reward_models_head_is_known(tmp_path: Path) -> None:
    save("llama", tmp_path)
    assert list(trainable_faults(recipe_of(tmp_path, "score", method={"kind": "reward"}))) == []
    [fault] = trainable_faults(recipe_of(tmp_path, "score"))
    assert fault.reason == "'score' is found in no parameter's name"


def test_a_model_from_scratch_has_the_names_of_a_llama() -> None:
    def faults(pattern: str) -> list[str]:
        model = {"scratch": {"hidden": 32, "layers": 2, "heads": 4}, "trainable": [pattern]}
        recipe = build({"model": model, "data": {"train": [{"path": "x"}]}, "tokenizer": {"train": {}}}, str)
        return [fault.remedy for fault in trainable_faults(recipe)]

    assert faults("mlp") == []
    assert faults("mpl") == ["did you mean mlp?"]
