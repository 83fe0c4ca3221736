"""Tiny models with random weights, one of each form that kernels have to tell apart."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from luthier.model.attention import register

SIZE: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}


def tiny(architecture: str, attention: str | None = "sdpa", **changes: Any) -> Any:
    """A model in fp32 whose every parameter, norms and biases too, is away from what it begins as.

    ``...`` as a change leaves a size out.
    """
    sizes = {name: one for name, one in {**SIZE, **changes}.items() if one is not ...}
    config = AutoConfig.for_model(architecture, **sizes)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention and register(attention))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def loss_and_gradients(model: Any, lengths: tuple[int, ...] = (9, 5, 14)) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of a batch of documents, and the gradient of every parameter."""
    torch.manual_seed(1)
    ids = torch.randint(3, 120, (1, sum(lengths)))
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    model.zero_grad(set_to_none=True)
    output = model(input_ids=ids, position_ids=positions, use_cache=False, document_lengths=lengths)
    loss = torch.nn.functional.cross_entropy(output.logits[0, :-1].float(), ids[0, 1:])
    loss.backward()
    gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    return float(loss.detach()), gradients


def assert_same_training(model: Any, other: Any, tolerance: float = 1e-5) -> None:
    """Two models have one loss, and one gradient for every parameter, within rounding."""
    (first, ours), (second, theirs) = loss_and_gradients(model), loss_and_gradients(other)
    assert abs(first - second) <= tolerance * abs(first)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(theirs[name], gradient, rtol=tolerance, atol=tolerance, msg=name)
