"""Documents in a batch never see one another."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, MistralConfig, Qwen2Config

from luthier.data.batch import Batch, collate
from luthier.data.tokens import Tokens
from luthier.errors import ModelError
from luthier.methods.causal import SupervisedFineTuning, logits_at
from luthier.model.attention import register
from tests.conftest import World

RANDOM = np.random.default_rng(0)


def document(length: int, vocabulary: int = 200) -> Tokens:
    return Tokens(RANDOM.integers(3, vocabulary, length).astype(np.int32), np.ones(length, np.bool_), "test")


@pytest.fixture(scope="module")
def model(world: World) -> torch.nn.Module:
    loaded: torch.nn.Module = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation=register())
    return loaded.eval()


def all_logits(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return logits_at(model, batch, torch.arange(batch.tokens))


def test_changing_one_document_leaves_the_others_logits_bit_identical(model: torch.nn.Module) -> None:
    first, second, third = document(7), document(12), document(5)
    other = Tokens(second.ids[::-1].copy(), second.trained, "test")
    before, after = (all_logits(model, collate([first, middle, third])) for middle in (second, other))
    assert torch.equal(before[:7], after[:7])
    assert torch.equal(before[19:], after[19:])
    assert not torch.equal(before[7:19], after[7:19])


def test_a_packed_document_has_the_logits_it_has_alone(model: torch.nn.Module) -> None:
    documents = [document(9), document(4), document(16)]
    packed = all_logits(model, collate(documents))
    alone = torch.cat([all_logits(model, collate([one])) for one in documents])
    torch.testing.assert_close(packed, alone, rtol=0, atol=1e-5)


def test_logits_equal_those_of_plain_transformers(world: World, model: torch.nn.Module) -> None:
    plain = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation="eager").eval()
    one = document(20)
    with torch.no_grad():
        expected = plain(torch.from_numpy(one.ids.astype(np.int64))[None]).logits[0]
    torch.testing.assert_close(all_logits(model, collate([one])), expected, rtol=0, atol=1e-5)


def test_packed_training_equals_unpacked_training(model: torch.nn.Module) -> None:
    """Loss and every gradient, in fp32, within 1e-5."""
    documents = [document(length) for length in (9, 4, 16, 3)]
    method = SupervisedFineTuning()
    packed, apart = copy.deepcopy(model), copy.deepcopy(model)
    batch = method.collate(documents)
    loss = method.loss(packed, batch)
    (loss.total / loss.count).backward()
    total = 0.0
    for one in documents:
        part = method.loss(apart, method.collate([one]))
        (part.total / loss.count).backward()
        total += float(part.total.detach())
    assert float(loss.total.detach()) == pytest.approx(total, rel=1e-5)
    for (name, a), b in zip(packed.named_parameters(), apart.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-5, msg=name)


def test_a_sliding_window_is_kept(tmp_path: object) -> None:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=200,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=4,
    )
    eager = AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation="eager").eval()
    ours = AutoModelForCausalLM.from_config(config, attn_implementation=register()).eval()
    ours.load_state_dict(eager.state_dict())
    one = document(15)
    with torch.no_grad():
        expected = eager(torch.from_numpy(one.ids.astype(np.int64))[None]).logits[0]
    torch.testing.assert_close(all_logits(ours, collate([one])), expected, rtol=0, atol=1e-5)


def test_other_architectures_are_isolated_too() -> None:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=200,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation=register()).eval()
    documents = [document(6), document(11)]
    packed = all_logits(model, collate(documents))
    torch.testing.assert_close(packed[6:], all_logits(model, collate(documents[1:])), rtol=0, atol=1e-5)


def test_without_boundaries_it_refuses_rather_than_leaks(model: torch.nn.Module) -> None:
    with pytest.raises(ModelError, match="boundaries"):
        model(torch.tensor([[3, 4, 5]]), use_cache=False)
