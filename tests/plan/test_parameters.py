"""What trains, counted without weights, is what PEFT and transformers train."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DeepseekV3Config,
    GPT2Config,
    GPTNeoXConfig,
    GptOssConfig,
    LlamaConfig,
    MixtralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3MoeConfig,
)

from luthier.model.adapters import add_adapter
from luthier.model.load import build_model
from luthier.model.shape import Shape, shape_of_directory
from luthier.plan.adapted import adapted_layers
from luthier.plan.memory import activation_bytes, peak_memory, weight_bytes
from luthier.plan.parameters import trainable_parameters, with_rows
from luthier.plan.plan import quantised_otherwise
from luthier.recipe import Recipe
from luthier.recipe.validate import build

COMMON: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "bos_token_id": None,
    "eos_token_id": None,
}
LATENT: dict[str, Any] = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
EXPERTS: dict[str, PretrainedConfig] = {
    "mixtral": MixtralConfig(**COMMON, num_local_experts=4, num_key_value_heads=2),
    "qwen3_moe": Qwen3MoeConfig(**COMMON, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, head_dim=8),
    "gpt_oss": GptOssConfig(**COMMON, num_local_experts=4, num_experts_per_tok=2, num_key_value_heads=2, head_dim=8),
    "deepseek_v3": DeepseekV3Config(**COMMON, **LATENT, num_experts_per_tok=2, moe_intermediate_size=16),
}
CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**COMMON, num_key_value_heads=2, tie_word_embeddings=True),
    "qwen2": Qwen2Config(**COMMON, num_key_value_heads=2),
    "neox": GPTNeoXConfig(**COMMON),
}

TURNED = GPT2Config(
    vocab_size=101, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=None, eos_token_id=None
)


def saved(configs: dict[str, PretrainedConfig], root: Path) -> dict[str, Path]:
    for name, config in configs.items():
        AutoModelForCausalLM.from_config(config).save_pretrained(root / name)
    return {name: root / name for name in configs}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return saved(CONFIGS, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return saved(EXPERTS, tmp_path_factory.mktemp("experts"))


def recipe_of(path: Path, **sections: Any) -> Recipe:
    tree = {
        "data": {"train": [{"path": "rows.jsonl"}]},
        **sections,
        "model": {"path": str(path), **sections.get("model", {})},
    }
    return build(tree, str)


def really_trained(recipe: Recipe) -> int:
    assert recipe.model.path is not None
    model = add_adapter(build_model(recipe, 101, Path(recipe.model.path)), recipe)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize(
    "adapter",
    [
        {"targets": "all-linear"},
        {"targets": "all-linear", "rank": 3, "dora": True},
        {"targets": "all-linear", "bias": "all"},
        {"targets": "all-linear", "bias": "lora_only"},
    ],
    ids=["plain", "dora", "all biases", "own biases"],
)
def test_an_adapter_on_all_linear_layers_is_counted_as_peft_makes_it(
    models: dict[str, Path], architecture: str, adapter: dict[str, Any]
) -> None:
    recipe = recipe_of(models[architecture], adapter={"kind": "lora", **adapter})
    assert trainable_parameters(recipe, shape_of_directory(models[architecture])) == really_trained(recipe)


@pytest.mark.parametrize(
    "adapter",
    [
        {"targets": ["q_proj", "v_proj"], "rank": 5},
        {"targets": ["model.layers.1.mlp.up_proj"]},
        {"targets": ["v_proj"], "modules_to_save": ["lm_head", "embed_tokens"]},
        {"targets": r"model\.layers\.[02]\.self_attn\.(q|k)_proj"},
        {"targets": r".*down_proj"},
        {"targets": "all-linear", "rank_pattern": {"q_proj": 2, r"layers\.1\..*": 7}},
        {"targets": ["q_proj", "o_proj"], "rank_pattern": {"self_attn.o_proj": 2}},
        {"targets": ["q_proj"], "modules_to_save": ["norm", "input_layernorm"]},
    ],
    ids=lambda adapter: " ".join(map(str, adapter.values())),
)
def test_targets_mean_to_us_what_they_mean_to_peft(models: dict[str, Path], adapter: dict[str, Any]) -> None:
    recipe = recipe_of(
        models["llama" if "lm_head" not in str(adapter) else "qwen2"], adapter={"kind": "lora", **adapter}
    )
    assert recipe.model.path is not None
    shape = shape_of_directory(Path(recipe.model.path))
    assert trainable_parameters(recipe, shape) == really_trained(recipe) > 0


@pytest.mark.parametrize("architecture", EXPERTS)
@pytest.mark.parametrize(
    "adapter",
    [
        {"kind": "none"},
        {"kind": "lora", "targets": "all-linear"},
        {"kind": "lora", "targets": "all-linear", "bias": "all"},
        {"kind": "lora", "targets": ["o_proj"], "modules_to_save": ["mlp"]},
        {"kind": "ia3", "targets": "all-linear"},
    ],
    ids=["none", "lora", "biases", "beside", "ia3"],
)
def test_what_trains_beside_experts_in_one_tensor_is_counted(
    experts: dict[str, Path], architecture: str, adapter: dict[str, Any]
) -> None:
    recipe = recipe_of(experts[architecture], adapter=adapter)
    assert trainable_parameters(recipe, shape_of_directory(experts[architecture])) == really_trained(recipe) > 0


@pytest.mark.parametrize(
    ("architecture", "targets"),
    [
        ("mixtral", ["q_proj", "w1", "w2", "w3"]),
        ("mixtral", ["w2", "gate"]),
        ("mixtral", r".*layers\.0\.self_attn\.o_proj"),
        ("qwen3_moe", ["q_proj", "gate_proj", "up_proj", "down_proj"]),
        ("qwen3_moe", r".*experts\.(gate|up)_proj"),
        ("deepseek_v3", ["o_proj", "gate_proj", "up_proj", "down_proj"]),
        ("deepseek_v3", ["down_proj"]),
    ],
    ids=str,
)
def test_targets_among_experts_mean_to_us_what_they_mean_to_peft(
    experts: dict[str, Path], architecture: str, targets: Any
) -> None:
    recipe = recipe_of(experts[architecture], adapter={"kind": "lora", "targets": targets})
    assert trainable_parameters(recipe, shape_of_directory(experts[architecture])) == really_trained(recipe) > 0


@pytest.mark.parametrize("pattern", ["experts.gate_up_proj", "down_proj", ".*"])
def test_experts_have_ranks_of_their_own(experts: dict[str, Path], pattern: str) -> None:
    adapter = {"kind": "lora", "targets": ["o_proj", "gate_proj", "up_proj", "down_proj"], "rank_pattern": {pattern: 3}}
    recipe = recipe_of(experts["qwen3_moe"], adapter=adapter)
    assert trainable_parameters(recipe, shape_of_directory(experts["qwen3_moe"])) == really_trained(recipe) > 0


@pytest.mark.parametrize("architecture", [*CONFIGS, "gpt2"])
@pytest.mark.parametrize("end", ["input", "output"])
@pytest.mark.parametrize("adapter", [{}, {"dora": True}, {"rank": 3}], ids=str)
def test_an_adapter_on_the_embedding_or_the_output_layer_is_counted(
    tmp_path: Path, architecture: str, end: str, adapter: dict[str, Any]
) -> None:
    """DoRA has one magnitude per feature of an embedding, one per token of the output layer."""
    model = AutoModelForCausalLM.from_config({**CONFIGS, "gpt2": TURNED}[architecture])
    model.save_pretrained(tmp_path)
    layer = model.get_input_embeddings() if end == "input" else model.get_output_embeddings()
    name = next(name for name, one in model.named_modules() if one is layer).rpartition(".")[2]
    beside = {"neox": "query_key_value", "gpt2": "c_attn"}.get(architecture, "q_proj")
    recipe = recipe_of(tmp_path, adapter={"kind": "lora", "targets": [beside, name], **adapter})
    assert trainable_parameters(recipe, shape_of_directory(tmp_path)) == really_trained(recipe) > 0


@pytest.mark.parametrize("adapter", [{"kind": "ia3"}, {"kind": "lora", "dora": True}], ids=["ia3", "dora"])
def test_outputs_of_layers_that_store_their_weights_turned_are_counted(tmp_path: Path, adapter: dict[str, Any]) -> None:
    AutoModelForCausalLM.from_config(TURNED).save_pretrained(tmp_path)
    recipe = recipe_of(tmp_path, adapter={"targets": "all-linear", **adapter})
    assert trainable_parameters(recipe, shape_of_directory(tmp_path)) == really_trained(recipe) > 0


@pytest.mark.parametrize(
    ("architecture", "modules"),
    [
        ("llama", ["lm_head"]),
        ("llama", ["lm_head", "embed_tokens"]),
        ("gpt2", ["lm_head"]),
        ("bloom", ["lm_head", "word_embeddings"]),
    ],
)
@pytest.mark.parametrize("adapter", [{"kind": "lora"}, {"kind": "lora", "dora": True}, {"kind": "ia3"}], ids=str)
def test_a_tied_output_layer_beside_an_adapter_is_counted_as_the_copy_that_it_becomes(
    models: dict[str, Path], architecture: str, modules: list[str], adapter: dict[str, Any], tmp_path: Path
) -> None:
    path = models.get(architecture, tmp_path)
    if path == tmp_path:
        size = {name: value for name, value in COMMON.items() if name != "intermediate_size"}
        AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **size)).save_pretrained(path)
    recipe = recipe_of(path, adapter={**adapter, "modules_to_save": modules})
    assert trainable_parameters(recipe, shape_of_directory(path)) == really_trained(recipe)


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.parametrize(
    "adapter",
    [
        {"kind": "ia3"},
        {"kind": "ia3", "modules_to_save": ["the embeddings"]},
        {"kind": "prefix", "virtual_tokens": 7},
        {"kind": "prefix", "virtual_tokens": 7, "projection": True},
        {"kind": "prefix", "virtual_tokens": 7, "projection": True, "projection_width": 11},
        {"kind": "prompt", "virtual_tokens": 7},
    ],
    ids=["ia3", "ia3 beside", "prefix", "projected", "wide", "prompt"],
)
def test_other_adapters_are_counted_as_peft_makes_them(
    models: dict[str, Path], architecture: str, adapter: dict[str, Any]
) -> None:
    if "modules_to_save" in adapter:
        adapter = {**adapter, "modules_to_save": ["embed_in" if architecture == "neox" else "embed_tokens"]}
    recipe = recipe_of(models[architecture], adapter=adapter)
    assert trainable_parameters(recipe, shape_of_directory(models[architecture])) == really_trained(recipe)


@pytest.mark.parametrize(
    "quantise", [{"bits": 4}, {"bits": 4, "double": True}, {"bits": 8}], ids=["nf4", "double", "int8"]
)
def test_quantised_weights_take_the_bytes_that_bitsandbytes_gives_them(
    tmp_path: Path, quantise: dict[str, Any]
) -> None:
    """Beside the packed bits the scales: per block, of the scales themselves, or per row."""
    wide = {**COMMON, "hidden_size": 128, "intermediate_size": 352}
    AutoModelForCausalLM.from_config(Qwen2Config(**wide, num_key_value_heads=2)).save_pretrained(tmp_path)
    recipe = recipe_of(tmp_path, adapter={"kind": "lora"}, quantise=quantise)
    held = sum(
        one.numel() * one.element_size() for one in _held(add_adapter(build_model(recipe, 101, tmp_path), recipe))
    )
    assert weight_bytes(recipe, shape_of_directory(tmp_path)) == pytest.approx(held, rel=0.005)


def test_experts_are_not_quantised_and_counted_so(tmp_path: Path) -> None:
    wide = {**COMMON, "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2, "num_key_value_heads": 2}
    AutoModelForCausalLM.from_config(MixtralConfig(**wide, num_local_experts=4)).save_pretrained(tmp_path)
    recipe = recipe_of(tmp_path, adapter={"kind": "lora", "targets": ["q_proj"]}, quantise={"bits": 4})
    held = sum(
        one.numel() * one.element_size() for one in _held(add_adapter(build_model(recipe, 101, tmp_path), recipe))
    )
    shape = shape_of_directory(tmp_path)
    assert weight_bytes(recipe, shape) == pytest.approx(held, rel=0.005)
    [told] = quantised_otherwise(recipe, shape, "cuda")
    assert told == "quantise.bits: the experts' 0.6 M weights lie in one piece and are not quantised"


def _held(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            yield parameter
            state = getattr(parameter, "quant_state", None)
            if state is not None:
                yield from (one for one in (state.absmax, getattr(state.state2, "absmax", None)) if one is not None)
            if getattr(parameter, "SCB", None) is not None:
                yield parameter.SCB


def test_a_name_is_a_whole_part_of_a_layers_name(models: dict[str, Path]) -> None:
    recipe = recipe_of(models["llama"], adapter={"kind": "lora", "targets": ["proj", "up_proj"]})
    layers = adapted_layers(recipe.adapter, shape_of_directory(models["llama"]))
    assert layers == {f"model.layers.{layer}.mlp.up_proj": (48, 32) for layer in range(3)}


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"trainable": ["norm"]},
        {"trainable": [r"layers\.1\.", "embed"]},
        {"last_layers": 1},
        {"last_layers": 2, "trainable": ["embed_tokens"]},
        {"last_layers": 99},
    ],
    ids=str,
)
def test_full_fine_tuning_counts_what_is_left_free(models: dict[str, Path], model: dict[str, Any]) -> None:
    recipe = recipe_of(models["qwen2"], model=model)
    assert trainable_parameters(recipe, shape_of_directory(models["qwen2"])) == really_trained(recipe)


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", ["auto", "fp32", "bf16"])
@pytest.mark.parametrize("kind", ["none", "lora"])
def test_weight_bytes_are_those_of_the_model_that_trains(
    tmp_path: Path, stored: torch.dtype, dtype: str, kind: str
) -> None:
    AutoModelForCausalLM.from_config(CONFIGS["qwen2"], dtype=stored).save_pretrained(tmp_path)
    recipe = recipe_of(tmp_path, model={"dtype": dtype}, adapter={"kind": kind})
    model = add_adapter(build_model(recipe, 101, tmp_path), recipe)
    held = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    assert weight_bytes(recipe, shape_of_directory(tmp_path)) == held


def shape(models: dict[str, Path]) -> Shape:
    return shape_of_directory(models["llama"])


def test_memory_follows_from_what_trains(models: dict[str, Path]) -> None:
    full, small = recipe_of(models["llama"]), recipe_of(models["llama"], adapter={"kind": "lora", "rank": 2})
    for recipe in (full, small):
        trained = trainable_parameters(recipe, shape(models))
        memory = peak_memory(recipe, shape(models), 64, 10, "fp32")
        assert memory["gradients"] == 4 * trained
        assert memory["optimizer"] == 8 * trained
        assert memory["logits"] == 10 * 101 * 4
    narrow = recipe_of(models["llama"], model={"dtype": "bf16"})
    assert peak_memory(narrow, shape(models), 64, 10, "fp32")["optimizer"] == 4 * shape(models).count
    plain = recipe_of(models["llama"], optimizer={"kind": "sgd"})
    assert peak_memory(plain, shape(models), 64, 10, "fp32")["optimizer"] == 0


def test_logits_are_a_chunk_of_the_loss_or_all_of_them(models: dict[str, Path]) -> None:
    chunked = recipe_of(models["llama"])
    few, many = (peak_memory(chunked, shape(models), 10**6, targets, "fp32")["logits"] for targets in (10, 10**6))
    assert few == 10 * 101 * 4 and few < many <= 4 * 2**23
    plain = recipe_of(models["llama"], runtime={"kernels": {"cross_entropy": "off"}})
    assert peak_memory(plain, shape(models), 10**6, 10**6, "fp32")["logits"] == 10**6 * 101 * 12
    judged = recipe_of(models["llama"], method={"kind": "dpo"})
    few, many = (peak_memory(judged, shape(models), 10**6, targets, "fp32")["logits"] for targets in (10**5, 10**6))
    assert few == 10**5 * 101 * 4 and many <= 4 * 2**23
    assert (
        peak_memory(recipe_of(models["llama"], method={"kind": "reward"}), shape(models), 9, 9, "fp32")["logits"] == 0
    )


def test_activations_grow_with_tokens_and_shrink_with_checkpointing_and_narrow_numbers(models: dict[str, Path]) -> None:
    recipe = recipe_of(models["llama"])
    kept = activation_bytes(recipe, shape(models), 64, "fp32")
    assert activation_bytes(recipe, shape(models), 128, "fp32") == 2 * kept
    assert kept / 2 < activation_bytes(recipe, shape(models), 64, "bf16") < kept
    recomputed = recipe_of(models["llama"], runtime={"gradient_checkpointing": True})
    assert activation_bytes(recomputed, shape(models), 64, "fp32") < kept


def test_activations_are_near_what_autograd_keeps(models: dict[str, Path]) -> None:
    """The formula is for a fused Llama layer; autograd in eager mode keeps some tensors more."""
    recipe, tokens = recipe_of(models["llama"]), 64
    model = build_model(recipe, 101, models["llama"])
    seen: dict[int, int] = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model.model(input_ids=torch.ones(1, tokens, dtype=torch.long), document_lengths=(tokens,))
    assert out.last_hidden_state.requires_grad
    assert 0.6 < activation_bytes(recipe, shape(models), tokens, "fp32") / sum(seen.values()) < 1.4


@pytest.mark.parametrize("kind", ["none", "lora", "ia3"])
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_rows_of_added_tokens_are_counted(models: dict[str, Path], architecture: str, kind: str) -> None:
    added = ["<a>", "<b>", "<c>"]
    recipe = recipe_of(models[architecture], adapter={"kind": kind}, tokenizer={"added": added})
    plain = shape_of_directory(models[architecture])
    grown = with_rows(plain, 101 + len(added), len(added))
    new = tuple(range(101, 101 + len(added)))
    model = add_adapter(build_model(recipe, 101 + len(added), models[architecture]), recipe, new)
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert trainable_parameters(recipe, grown) == trained
    if kind == "none":
        assert grown.count == sum(one.numel() for one in model.parameters()) > plain.count
    assert with_rows(plain, 50) is plain
