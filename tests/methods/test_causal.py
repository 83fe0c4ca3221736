"""Next-token prediction against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from luthier.data.batch import collate
from luthier.data.tokens import Tokens
from luthier.methods.causal import SupervisedFineTuning
from luthier.model.attention import register
from tests.conftest import World


def test_the_loss_is_the_negative_log_probability_of_trained_tokens(world: World) -> None:
    ids = np.array([5, 9, 11, 7, 30, 2], np.int32)
    trained = np.array([False, False, True, True, False, True])
    plain = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation="eager").eval()
    ours = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation=register()).eval()
    with torch.no_grad():
        log_p = plain(torch.from_numpy(ids.astype(np.int64))[None]).logits[0].log_softmax(-1)
        expected = -sum(float(log_p[position - 1, ids[position]]) for position in np.flatnonzero(trained))
        loss = SupervisedFineTuning().loss(ours, collate([Tokens(ids, trained, "test")]))
    assert loss.count == 3
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)


def test_the_first_token_of_a_document_is_never_a_target(world: World) -> None:
    tokens = Tokens(np.array([5, 9], np.int32), np.array([True, True]), "test")
    assert SupervisedFineTuning().collate([tokens, tokens]).targets == 2
