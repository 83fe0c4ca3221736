"""A model's own dropout, switched off."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from luthier.model.dropout import without_dropout

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 50}


@pytest.mark.parametrize(
    ("kind", "rates"),
    [
        ("gpt2", {}),
        ("opt", {"word_embed_proj_dim": 32, "ffn_dim": 48, "attention_dropout": 0.2, "layerdrop": 0.5}),
        ("bloom", {"hidden_dropout": 0.2, "attention_dropout": 0.2}),
        ("llama", {"intermediate_size": 48, "attention_dropout": 0.5}),
    ],
)
def test_a_model_that_trains_says_the_same_twice(kind: str, rates: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SIZE, **rates)).train()
    ids = torch.arange(3, 30)[None]
    seen = [model(ids, use_cache=False).logits for _ in range(4)]
    assert any(not torch.equal(seen[0], one) for one in seen), "it has dropout"
    without_dropout(model)
    trained = [model(ids, use_cache=False).logits for _ in range(4)]
    assert all(torch.equal(trained[0], one) for one in trained)
    torch.testing.assert_close(trained[0], model.eval()(ids, use_cache=False).logits, rtol=0, atol=1e-6)
