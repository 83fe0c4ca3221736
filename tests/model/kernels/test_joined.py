"""Layers joined to one matrix product: the same numbers, names, files and steps as apart."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from luthier.model.kernels.choose import MLP, QKV
from luthier.model.kernels.joined import join_layers, whole
from tests.model.kernels.models import assert_same_training, loss_and_gradients, tiny

MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {},
    "gemma": {},
}


def pair(architecture: str, **changes: Any) -> tuple[Any, Any]:
    model = tiny(architecture, **changes)
    joined = copy.deepcopy(model)
    assert join_layers(joined, QKV) == join_layers(joined, MLP) == 2
    return model, joined


@pytest.mark.parametrize("architecture", MODELS)
def test_loss_and_every_gradient_are_those_of_layers_apart(architecture: str) -> None:
    assert_same_training(*pair(architecture, **MODELS[architecture]))


def test_it_is_one_product_of_one_matrix() -> None:
    _, joined = pair("qwen2")
    attention = joined.model.layers[0].self_attn
    for kind in ("weight", "bias"):
        parts = [getattr(getattr(attention, name), kind) for name in QKV]
        one = whole([part.detach() for part in parts])
        assert one.data_ptr() == parts[0].data_ptr() and len(one) == sum(map(len, parts)) == 64
    with torch.profiler.profile() as profile:
        joined(torch.tensor([[3, 4, 5]]), use_cache=False, document_lengths=(3,))
    counts = {event.key: event.count for event in profile.key_averages()}
    assert counts["aten::linear"] == 2 * 4 + 1


def test_the_steps_of_an_optimiser_are_the_same() -> None:
    models = pair("llama")
    for model in models:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(5):
            loss_and_gradients(model)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
    plain, joined = (model.state_dict() for model in models)
    assert plain.keys() == joined.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(joined[name], tensor, rtol=1e-4, atol=1e-4, msg=name)
    attention = models[1].model.layers[0].self_attn
    assert whole([attention.q_proj.weight, attention.k_proj.weight]).data_ptr() == attention.q_proj.weight.data_ptr()


def test_what_is_saved_opens_in_plain_transformers(tmp_path: Path) -> None:
    model, joined = pair("qwen2")
    model.save_pretrained(tmp_path / "plain")
    joined.save_pretrained(tmp_path / "joined")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "joined"))
    assert one.keys() == two.keys() and all(torch.equal(two[name], tensor) for name, tensor in one.items())
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "joined")
    ids = torch.arange(3, 30)[None]
    torch.testing.assert_close(again(ids).logits, joined(ids, use_cache=False, document_lengths=(27,)).logits)


@pytest.mark.parametrize("move", [lambda model: model.double(), copy.deepcopy], ids=["type", "copy"])
def test_weights_that_were_taken_apart_are_still_multiplied_right(move: Any) -> None:
    model, joined = pair("llama")
    joined, model = move(joined), move(model)
    parts = [getattr(joined.model.layers[0].self_attn, name).weight for name in QKV]
    assert whole(parts).data_ptr() != parts[0].data_ptr()
    assert_same_training(model, joined)


def test_under_autocast_it_rounds_as_layers_apart_do() -> None:
    model, joined = pair("llama")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (first, ours), (second, theirs) = loss_and_gradients(model), loss_and_gradients(joined)
    assert first == pytest.approx(second, rel=1e-2)
    for name, gradient in ours.items():
        assert theirs[name].dtype == torch.float32
        assert (theirs[name] - gradient).norm() <= 0.05 * gradient.norm(), name


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpoints_compute_it_again(reentrant: bool) -> None:
    model, joined = pair("llama")
    joined.activation_checkpointing_enable({"use_reentrant": reentrant})
    joined.train()
    assert_same_training(model, joined)


def test_layers_that_are_frozen_get_no_gradient() -> None:
    model, joined = pair("llama")
    for one in (model, joined):
        one.requires_grad_(False)
        one.model.layers[1].self_attn.k_proj.weight.requires_grad_(True)
    assert_same_training(model, joined)
    assert list(loss_and_gradients(joined)[1]) == ["model.layers.1.self_attn.k_proj.weight"]


def test_other_layers_are_left_alone() -> None:
    glm = tiny("glm", partial_rotary_factor=0.5)
    assert join_layers(glm, MLP) == 0
    mixed = tiny("llama")
    mixed.model.layers[0].self_attn.q_proj.bfloat16()
    assert join_layers(mixed, QKV) == 1
