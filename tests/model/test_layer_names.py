"""Names of layers that a model lacks are refused: in the plan, and when the adapter is put on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from luthier.errors import Fault, ModelError
from luthier.model.adapters import add_adapter
from luthier.model.load import build_model
from luthier.plan.layers import layer_faults, passed_over
from luthier.plan.parameters import trainable_parameters
from luthier.plan.plan import shape_of
from luthier.plan.support import unsupported
from luthier.recipe import Recipe
from luthier.recipe.validate import build

SIZE: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
MORE: dict[str, dict[str, Any]] = {
    "qwen3": {"tie_word_embeddings": True, "head_dim": 8},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 8, "chunk_size": 16},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "deepseek_v3": {
        **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"), 8),
        **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "moe_intermediate_size"), 16),
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
    },
}
ARCHITECTURES = (
    *("llama", "qwen3", "gpt_neox", "gpt2", "phi3", "mixtral", "qwen3_moe", "mamba", "mamba2"),
    *("bloom", "falcon", "deepseek_v3"),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for name in ARCHITECTURES:
        config = AutoConfig.for_model(name, **{**SIZE, **MORE.get(name, {})})
        AutoModelForCausalLM.from_config(config).save_pretrained(root / name)
    return {name: root / name for name in ARCHITECTURES}


def recipe_of(path: Path, **adapter: Any) -> Recipe:
    tree = {
        "model": {"path": str(path)},
        "data": {"train": [{"path": "rows.jsonl"}]},
        "adapter": {"kind": "lora", "rank": 2, **adapter},
    }
    return build(tree, str)


def put_on(recipe: Recipe) -> Any:
    assert recipe.model.path is not None
    return add_adapter(build_model(recipe, 101, Path(recipe.model.path)), recipe)


def only_fault(recipe: Recipe, key: str, remedy: str) -> Fault:
    """What the plan refuses of a recipe: one thing, by its key, with what to do."""
    [planned] = layer_faults(recipe)
    assert planned.place == key
    assert remedy in planned.remedy
    return planned


WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("llama", {"targets": ["q_proj", "v_projj"]}, "adapter.targets", "did you mean v_proj?"),
    ("llama", {"targets": ["v_projj"]}, "adapter.targets", "did you mean v_proj?"),
    ("llama", {"targets": "q_proj"}, "adapter.targets", ".*q_proj"),
    ("llama", {"modules_to_save": ["lm_haed"]}, "adapter.modules_to_save", "did you mean lm_head?"),
    ("llama", {"kind": "ia3", "modules_to_save": ["lm_haed"]}, "adapter.modules_to_save", "did you mean lm_head?"),
    ("gpt_neox", {"modules_to_save": ["embed_out"]}, "adapter.modules_to_save", "did you mean lm_head?"),
    ("llama", {"rank_pattern": {"k_projj": 3}}, "adapter.rank_pattern", "did you mean k_proj?"),
    ("llama", {"targets": ["q_proj"], "alpha_pattern": {"k_proj": 3}}, "adapter.alpha_pattern", "did you mean q_proj?"),
    ("gpt2", {"targets": ["c_atn"]}, "adapter.targets", "did you mean c_attn?"),
    ("qwen3_moe", {"targets": ["q_proj", "v_projj"]}, "adapter.targets", "did you mean v_proj?"),
    ("mixtral", {"kind": "ia3", "targets": ["w2"]}, "adapter.targets", "use some of"),
]


@pytest.mark.parametrize(("architecture", "adapter", "key", "remedy"), WRONG)
def test_a_name_that_matches_nothing_is_refused_with_the_one_that_was_meant(
    architecture: str, adapter: dict[str, Any], key: str, remedy: str, models: dict[str, Path]
) -> None:
    recipe = recipe_of(models[architecture], **adapter)
    planned = only_fault(recipe, key, remedy)
    with pytest.raises(ModelError) as caught:
        put_on(recipe)
    [fault] = caught.value.faults
    assert (fault.place, fault.reason) == (planned.place, planned.reason)
    assert remedy in fault.remedy


UNFIT: list[tuple[str, dict[str, Any], str, str]] = [
    ("qwen3_moe", {"targets": ["q_proj", "gate_proj"]}, "adapter.targets", "name up_proj as well"),
    ("mixtral", {"targets": ["w3", "w2"]}, "adapter.targets", "name w1 as well"),
    ("mixtral", {"targets": ["w2"], "dropout": 0.1}, "adapter.dropout", "set adapter.dropout: 0, or name layers"),
    ("mixtral", {"targets": ["gate"], "dropout": 0.1}, "adapter.dropout", "set adapter.dropout: 0, or name layers"),
    ("mixtral", {"targets": ["w1", "w3"], "rank_pattern": {"w1": 3}}, "adapter.rank_pattern", "gate_up_proj"),
    ("qwen3_moe", {"targets": "all-linear", "dora": True}, "adapter.dora", "set adapter.dora: false"),
    ("mixtral", {"kind": "ia3", "targets": ["q_proj", "gate"]}, "adapter.targets", "use some of: k_proj"),
    ("llama", {"kind": "ia3", "targets": ["embed_tokens"]}, "adapter.targets", "use some of: down_proj"),
    ("llama", {"targets": ["q_proj", "norm"]}, "adapter.targets", "use some of: down_proj"),
]


@pytest.mark.parametrize(("architecture", "adapter", "key", "remedy"), UNFIT)
def test_a_layer_that_can_have_no_such_adapter_is_refused_before_it_is_loaded(
    architecture: str, adapter: dict[str, Any], key: str, remedy: str, models: dict[str, Path]
) -> None:
    recipe = recipe_of(models[architecture], **adapter)
    only_fault(recipe, key, remedy)
    with pytest.raises(ModelError):
        put_on(recipe)


RIGHT: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"rank_pattern": {"k_proj": 3, r"layers\.1\..*": 1}, "modules_to_save": ["lm_head", "embed_tokens"]}),
    ("llama", {"targets": ["query_key_value", "dense"]}),
    ("llama", {"targets": r"model\.layers\.1\..*(q|v)_proj"}),
    ("llama", {"targets": ["model.layers.0.self_attn.q_proj", "1.mlp.up_proj"]}),
    ("llama", {"targets": ["q_proj", "lm_head"], "modules_to_save": ["lm_head"]}),
    ("llama", {"kind": "ia3", "targets": ["k_proj", "down_proj"]}),
    ("gpt_neox", {"targets": ["query_key_value"], "modules_to_save": ["lm_head"]}),
    ("gpt2", {"targets": r"transformer\.h\.\d\.attn\.c_attn"}),
    ("mixtral", {"targets": ["q_proj", "w1", "w2", "w3"]}),
    ("mixtral", {"targets": "all-linear"}),
    ("qwen3_moe", {"targets": ["q_proj", "gate_proj", "up_proj", "down_proj"], "rank_pattern": {"q_proj": 1}}),
]


@pytest.mark.parametrize(("architecture", "adapter"), RIGHT)
def test_names_that_a_model_has_are_taken(architecture: str, adapter: dict[str, Any], models: dict[str, Path]) -> None:
    recipe = recipe_of(models[architecture], **adapter)
    assert list(layer_faults(recipe)) == []
    assert any(parameter.requires_grad for parameter in put_on(recipe).parameters())


def test_a_list_that_goes_with_many_architectures_is_taken_and_told(models: dict[str, Path]) -> None:
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj", "up_proj", "gate_proj"]
    recipe = recipe_of(models["phi3"], targets=names)
    assert list(layer_faults(recipe)) == []
    [told] = passed_over(recipe, shape_of(recipe, models["phi3"]))
    assert "no q_proj, k_proj, v_proj, up_proj, gate_proj;" in told
    assert put_on(recipe).targeted_module_names


BESIDE: list[tuple[str, dict[str, Any], str, str]] = [
    ("qwen3", {"modules_to_save": ["lm_head"]}, "adapter.modules_to_save", "name embed_tokens in place of lm_head"),
    ("qwen3", {"modules_to_save": ["lm_head"], "dora": True}, "adapter.modules_to_save", "name embed_tokens"),
    ("qwen3", {"targets": ["q_proj", "embed_tokens"]}, "adapter.targets", "take embed_tokens away"),
    ("qwen3", {"targets": ["q_proj", "lm_head"]}, "adapter.targets", "take lm_head away"),
    ("llama", {"targets": ["q_proj", "embed_tokens"]}, "adapter.targets", "take embed_tokens away"),
    ("llama", {"targets": ".*(q_proj|lm_head)"}, "adapter.targets", "take lm_head away"),
]


@pytest.mark.parametrize(("architecture", "adapter", "key", "remedy"), BESIDE)
def test_layers_of_which_rows_train_take_no_adapter_beside(
    architecture: str, adapter: dict[str, Any], key: str, remedy: str, models: dict[str, Path]
) -> None:
    recipe = recipe_of(models[architecture], **adapter)
    added = recipe.model_copy(update={"tokenizer": recipe.tokenizer.model_copy(update={"added": ("<new>",)})})
    assert list(layer_faults(recipe)) == []
    [planned] = layer_faults(added)
    assert planned.place == key
    assert remedy in planned.remedy
    with pytest.raises(ModelError) as caught:
        add_adapter(build_model(added, 102, models[architecture]), added, (101,))
    assert caught.value.faults == (planned,)


@pytest.mark.parametrize(
    ("architecture", "adapter"),
    [
        ("qwen3", {}),
        ("qwen3", {"modules_to_save": ["embed_tokens"]}),
        ("qwen3", {"targets": ["q_proj", "embed_tokens"], "modules_to_save": ["embed_tokens"]}),
        ("llama", {"modules_to_save": ["lm_head"]}),
        ("llama", {"targets": ["q_proj", "embed_tokens", "lm_head"], "modules_to_save": ["embed_tokens", "lm_head"]}),
        ("gpt2", {}),
        ("gpt_neox", {"modules_to_save": ["lm_head"]}),
    ],
)
def test_what_trains_beside_new_rows_is_taken(
    architecture: str, adapter: dict[str, Any], models: dict[str, Path]
) -> None:
    recipe = recipe_of(models[architecture], **adapter)
    added = recipe.model_copy(update={"tokenizer": recipe.tokenizer.model_copy(update={"added": ("<new>",)})})
    assert list(layer_faults(added)) == []
    model = add_adapter(build_model(added, 102, models[architecture]), added, (101,))
    assert any(one.requires_grad for name, one in model.named_parameters() if "token" in name or "modules_to" in name)


@pytest.mark.parametrize("architecture", ["mamba", "mamba2"])
def test_all_linear_layers_of_a_mamba_are_those_that_can_be_adapted(architecture: str, models: dict[str, Path]) -> None:
    recipe = recipe_of(models[architecture], targets="all-linear")
    assert list(layer_faults(recipe)) == []
    model = put_on(recipe)
    adapted = {name.rpartition(".")[2] for name in model.targeted_module_names}
    assert adapted == ({"in_proj", "x_proj", "dt_proj"} if architecture == "mamba" else {"in_proj"})
    shape = shape_of(recipe, models[architecture])
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert trainable_parameters(recipe, shape) == trained


def test_a_layer_that_a_mamba_reads_past_its_adapter_is_refused(models: dict[str, Path]) -> None:
    [fault] = layer_faults(recipe_of(models["mamba"], targets=["in_proj", "out_proj"]))
    assert fault.place == "adapter.targets"
    assert "take out_proj away" in fault.remedy


@pytest.mark.parametrize("architecture", ["bloom", "falcon", "mamba", "mamba2", "deepseek_v3"])
def test_a_prefix_that_has_no_place_is_refused_before_the_model_is_loaded(
    architecture: str, models: dict[str, Path]
) -> None:
    path = models[architecture]
    tree = {"model": {"path": str(path)}, "data": {"train": [{"path": "rows.jsonl"}]}, "adapter": {"kind": "prefix"}}
    [fault] = (fault for fault in unsupported(build(tree, str)) if fault.place == "adapter.kind")
    assert fault.reason.startswith(architecture)
    assert fault.remedy == "use lora or prompt"
    recipe = build(tree, str)
    model = add_adapter(build_model(recipe, 101, path), recipe)
    with pytest.raises((ModelError, RuntimeError)):
        model(input_ids=torch.arange(8)[None], document_lengths=(8,))


@pytest.mark.parametrize("architecture", ["llama", "mixtral", "phi3", "gpt2"])
def test_a_prefix_that_has_a_place_is_taken(architecture: str, models: dict[str, Path]) -> None:
    assert list(layer_faults(recipe_of(models[architecture], kind="prefix"))) == []
