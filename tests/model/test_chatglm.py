"""ChatGLM3 checkpoints: the network they were published as, under GLM's names, or an error that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from luthier.data.batch import collate
from luthier.data.tokens import Tokens
from luthier.errors import ModelError
from luthier.methods.causal import logits_at
from luthier.model.attention import register
from luthier.model.chatglm import native_names
from luthier.model.load import open_model
from luthier.model.shape import shape_of_directory
from luthier.recipe.adapter import Adapter
from tests.model.chatglm3 import change_tensors, reference_logits, write_checkpoint

IDS = [501, 503, 505, 7, 300, 41, 41, 2, 519, 260, 11, 77]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "chatglm3")


def logits(directory: Path, ids: list[int], attention: str = "sdpa") -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = open_model(directory, attention, "auto").eval()(torch.tensor([ids])).logits[0]
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rope_ratio": 50},
        {"add_qkv_bias": False},
        {"multi_query_attention": False},
        {"multi_query_group_num": 1, "kv_channels": 16, "layernorm_epsilon": 1e-2},
    ],
    ids=["published", "longer", "no bias", "no groups", "one wide group"],
)
def test_its_logits_are_those_of_the_published_network(tmp_path: Path, changes: dict[str, Any]) -> None:
    directory = write_checkpoint(tmp_path / "chatglm3", **changes)
    torch.testing.assert_close(logits(directory, IDS), reference_logits(directory, IDS), rtol=0, atol=1e-5)


def test_packed_documents_have_the_logits_they_have_alone(checkpoint: Path) -> None:
    model = open_model(checkpoint, register(), "auto").eval()
    pieces = [IDS[:5], IDS[5:7], IDS[7:]]
    batch = collate([Tokens(np.array(ids, np.int32), np.ones(len(ids), np.bool_), "test") for ids in pieces])
    with torch.no_grad():
        packed = logits_at(model, batch, torch.arange(batch.tokens))
    alone = torch.cat([reference_logits(checkpoint, ids) for ids in pieces])
    torch.testing.assert_close(packed, alone, rtol=0, atol=1e-5)


def test_its_shape_is_told_as_the_model_that_is_built(checkpoint: Path) -> None:
    shape, model = shape_of_directory(checkpoint), open_model(checkpoint, "sdpa", "auto")
    built = {name: (tuple(one.shape), 4) for name, one in model.named_parameters()}
    assert shape.parameters == built
    assert shape.count == sum(one.numel() for one in model.parameters())
    assert (shape.architecture, shape.layers, shape.heads, shape.kv_heads) == ("glm", 2, 4, 2)
    assert (shape.head_size, shape.intermediate, shape.vocabulary) == (8, 48, 520)


def test_the_type_is_the_checkpoints_own_or_the_one_asked_for(tmp_path: Path) -> None:
    directory = write_checkpoint(tmp_path / "half", torch_dtype="float16")
    assert open_model(directory, "sdpa", "auto").dtype == torch.float16
    assert open_model(directory, "sdpa", torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"encoder__layers__1__mlp__dense_4h_to_h__weight": None},
            "lacks transformer.encoder.layers.1.mlp.dense_4h_to_h.weight (1 in all)",
        ),
        ({"prefix_encoder__embedding__weight": torch.ones(2)}, "no place for transformer.prefix_encoder"),
        (
            {"encoder__layers__0__self_attention__query_key_value__weight": torch.ones(96, 32)},
            "layers.0.self_attention.query_key_value.weight is [96, 32], not [64, 32]",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(checkpoint: Path, changed: dict[str, Any], told: str) -> None:
    change_tensors(checkpoint, **changed)
    for use in (lambda: open_model(checkpoint, "sdpa", "auto"), lambda: shape_of_directory(checkpoint)):
        with pytest.raises(ModelError) as caught:
            use()
        assert told in str(caught.value) and str(checkpoint) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rmsnorm": False}, "rmsnorm: False"),
        ({"quantization_bit": 4, "pre_seq_len": 128}, "quantization_bit: 4, pre_seq_len: 128"),
        ({"padded_vocab_size": None}, "has no padded_vocab_size"),
    ],
)
def test_settings_that_glm_cannot_express_are_named(checkpoint: Path, changes: dict[str, Any], told: str) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    for use in (lambda: open_model(checkpoint, "sdpa", "auto"), lambda: shape_of_directory(checkpoint)):
        with pytest.raises(ModelError, match=told):
            use()


@pytest.mark.parametrize(
    ("targets", "becomes"),
    [
        (("query_key_value",), ("q_proj", "k_proj", "v_proj")),
        (("query_key_value", "q_proj", "dense"), ("q_proj", "k_proj", "v_proj", "o_proj")),
        (("dense_h_to_4h", "dense_4h_to_h"), ("gate_up_proj", "down_proj")),
        (("layers.0.self_attention.query_key_value",), tuple(f"layers.0.self_attn.{n}_proj" for n in "qkv")),
        ("all-linear", "all-linear"),
        (r".*\.(query_key_value|dense)", r".*\.((?:q_proj|k_proj|v_proj)|o_proj)"),
    ],
)
def test_its_own_names_of_layers_are_understood(targets: Any, becomes: Any) -> None:
    adapter = Adapter(kind="lora", targets=targets)
    assert native_names(adapter, "glm").targets == becomes
    assert native_names(adapter, "gpt_neox") == adapter


def test_its_names_of_layers_are_llamas_where_a_file_of_its_trains_one() -> None:
    adapter = Adapter(kind="lora", targets=("query_key_value", "dense_h_to_4h"))
    for architecture in ("llama", "qwen2"):
        wanted = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
        assert native_names(adapter, architecture).targets == wanted


def test_names_are_understood_wherever_an_adapter_names_layers() -> None:
    adapter = Adapter(kind="lora", modules_to_save=("output_layer",), rank_pattern={"query_key_value": 4})
    native = native_names(adapter, "glm")
    assert native.modules_to_save == ("lm_head",)
    assert native.rank_pattern == {"(?:q_proj|k_proj|v_proj)": 4}
