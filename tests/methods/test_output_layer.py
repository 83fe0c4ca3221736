"""The loss in place of the output layer, on the shapes that models have: logits capped, scaled, tied, adapted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, PrefixTuningConfig, get_peft_model

from luthier.data.batch import Batch, collate
from luthier.data.tokens import Tokens
from luthier.methods.causal import SupervisedFineTuning
from luthier.methods.cross_entropy import Head, Terms
from luthier.methods.output_layer import output_layer
from luthier.model.attention import register
from luthier.model.prompts import with_prompts

SIZES = {
    "vocab_size": 61,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MODELS = {
    "llama": ({"tie_word_embeddings": False}, Head()),
    "qwen2": ({"tie_word_embeddings": True}, Head()),
    "gemma3_text": ({"final_logit_softcapping": 5.0}, Head(cap=5.0)),
    "cohere": ({"logit_scale": 0.0625}, Head(scale=0.0625)),
    "granite": ({"logits_scaling": 8.0}, Head(scale=0.125)),
}


def tiny(kind: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **{**SIZES, **MODELS[kind][0], **changes})
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation=register()).train()


def batch() -> Batch:
    chance = np.random.default_rng(0)
    documents = [
        Tokens(chance.integers(3, 61, length).astype(np.int32), chance.random(length) < 0.6, "test")
        for length in (7, 12, 5)
    ]
    return collate(documents)


def losses(model: Any, terms: Terms, chunked: bool) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = SupervisedFineTuning(terms, chunked).loss(model, batch())
    loss.total.backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return float(loss.total.detach()), grads


def equal(model: Any, terms: Terms) -> None:
    """The loss and all gradients are those of whole logits."""
    expected, theirs = losses(model, terms, chunked=False)
    found, ours = losses(model, terms, chunked=True)
    assert found == pytest.approx(expected, rel=1e-5)
    assert ours.keys() == theirs.keys() != set()
    for name, gradient in theirs.items():
        assert float((ours[name] - gradient).norm()) <= 1e-5 * float(gradient.norm()) + 1e-7, name


@pytest.mark.parametrize("terms", [Terms(), Terms(0.1, 1e-3, True)], ids=str)
@pytest.mark.parametrize("kind", MODELS)
def test_losses_and_gradients_are_those_of_whole_logits(kind: str, terms: Terms) -> None:
    model = tiny(kind)
    found = output_layer(model)
    assert found is not None
    assert found[1].cap == MODELS[kind][1].cap
    assert found[1].scale == pytest.approx(MODELS[kind][1].scale, rel=1e-5)
    equal(model, terms)


@pytest.mark.parametrize("wrapped", ["lora", "prefix"])
def test_adapters_elsewhere_leave_the_output_layer_to_it(wrapped: str) -> None:
    model = tiny("llama")
    if wrapped == "lora":
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]))
    else:
        model = with_prompts(model, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    assert output_layer(model) is not None
    equal(model, Terms())


@pytest.mark.parametrize("settings", [{"target_modules": ["lm_head"]}, {"modules_to_save": ["lm_head"]}], ids=str)
def test_an_adapted_output_layer_takes_the_plain_loss(settings: dict[str, list[str]]) -> None:
    config = {"target_modules": ["q_proj"], **settings}
    model = get_peft_model(tiny("llama"), LoraConfig(task_type="CAUSAL_LM", **config))
    assert output_layer(model) is None
    equal(model, Terms(smoothing=0.1))


def test_logits_that_are_made_in_an_unknown_way_take_the_plain_loss() -> None:
    model = tiny("llama")
    forward = model.forward

    def bent(*args: Any, **settings: Any) -> Any:
        output = forward(*args, **settings)
        output.logits = output.logits.square()
        return output

    model.forward = bent
    assert output_layer(model) is None


def test_the_layer_is_itself_again_afterwards() -> None:
    model = tiny("llama")
    before = model(input_ids=torch.tensor([[5, 6]]), document_lengths=(2,)).logits
    losses(model, Terms(), chunked=True)
    assert torch.equal(model(input_ids=torch.tensor([[5, 6]]), document_lengths=(2,)).logits, before)
    with pytest.raises(IndexError):
        SupervisedFineTuning().loss(model, collate([Tokens(np.array([3, 900], np.int32), np.ones(2, bool), "bad")]))
    assert torch.equal(model(input_ids=torch.tensor([[5, 6]]), document_lengths=(2,)).logits, before)


def test_evaluation_is_by_cross_entropy_alone_and_training_reports_it() -> None:
    model = tiny("llama")
    method = SupervisedFineTuning(Terms(smoothing=0.3, z_loss=0.1))
    trained = method.loss(model, batch())
    model.eval()
    evaluated = method.loss(model, batch())
    assert float(trained.total.detach()) > float(evaluated.total.detach()) * 1.1
    assert float(trained.metrics["cross_entropy"]) == pytest.approx(float(evaluated.total.detach()), rel=1e-5)
    assert not evaluated.metrics
