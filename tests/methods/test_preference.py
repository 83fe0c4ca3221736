"""Learning from judged answers on a real tiny model: against definitions, and packed against apart."""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from luthier.data.preference import Judged
from luthier.data.preference_batch import AnswerBatch
from luthier.data.tokens import Tokens
from luthier.errors import ModelError, RunError
from luthier.methods.answers import likelihood
from luthier.methods.kto import KahnemanTversky
from luthier.methods.method import means
from luthier.methods.preference import (
    ContrastivePreference,
    DirectPreference,
    IdentityPreference,
    OddsRatio,
    SimplePreference,
)
from luthier.methods.reference import AtStart, Copied, Precomputed, Reference, Uniform, WithoutAdapter
from luthier.methods.reward import Reward, rewards_of
from luthier.model.attention import register
from luthier.model.attention_branches import register_branches
from luthier.model.reward import as_reward_model
from luthier.recipe.method import Method as Settings
from tests.conftest import World

PAIRS = [
    Judged(np.array([5, 9, 11, 30]), (np.array([7, 8, 2]), np.array([40, 2]))),
    Judged(np.array([6]), (np.array([12, 13, 14, 15, 2]), np.array([9, 9, 9, 2]))),
    Judged(np.array([33, 34, 35, 36, 37, 38]), (np.array([41]), np.array([44, 45, 46]))),
]
LABELLED = [Judged(one.prompt, one.answers[:1], wanted=number != 1) for number, one in enumerate(PAIRS)]
KINDS = (DirectPreference, IdentityPreference, OddsRatio, SimplePreference, ContrastivePreference)


def documents(rows: list[Judged]) -> list[Tokens]:
    return [one.tokens(f"d:{number}") for number, one in enumerate(rows, 1)]


def opened(world: World, *, branches: bool = True) -> Any:
    name = register_branches(register()) if branches else register()
    return AutoModelForCausalLM.from_pretrained(world.model, attn_implementation=name)


def log_p(world: World, prompt: np.ndarray[Any, Any], answer: np.ndarray[Any, Any]) -> float:
    """An answer's log-probability by its definition, through transformers alone."""
    plain = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation="eager").eval()
    ids = torch.from_numpy(np.concatenate([prompt, answer]).astype(np.int64))
    with torch.no_grad():
        every = plain(ids[None]).logits[0].log_softmax(-1)
    places = range(len(prompt), len(ids))
    return float(sum(every[at - 1, ids[at]] for at in places))


def test_log_probabilities_of_packed_pairs_are_those_of_each_answer_alone(world: World) -> None:
    batch = DirectPreference(Settings()).collate(documents(PAIRS))
    assert isinstance(batch, AnswerBatch)
    with torch.no_grad():
        found = likelihood(opened(world).eval(), batch)
    expected = [log_p(world, one.prompt, answer) for one in PAIRS for answer in one.answers]
    assert found.sums.tolist() == pytest.approx(expected, abs=1e-4)
    assert found.tokens.tolist() == [3, 2, 5, 4, 1, 3]


@pytest.mark.parametrize("kind", [*KINDS, KahnemanTversky])
def test_losses_and_gradients_without_all_logits_are_those_with_them(
    kind: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    made: list[int] = []
    whole = torch.nn.functional.cross_entropy
    monkeypatch.setattr("luthier.methods.answers.cross_entropy", lambda *a, **k: made.append(1) or whole(*a, **k))
    for chunked in (True, False):
        model = opened(world)
        method = kind(Settings(nll_weight=0.5), chunked=chunked)
        if method.needs_reference:
            method.reference = Copied(opened(world))
        loss = method.loss(model, method.collate(documents(LABELLED if kind is KahnemanTversky else PAIRS)))
        loss.total.backward()
        gradients = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
        found.append((float(loss.total.detach()), gradients, len(made)))
    (one, ours, none), (other, theirs, some) = found
    assert none == 0 < some
    assert one == pytest.approx(other, rel=1e-5)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert float((ours[name] - gradient).norm()) <= 1e-5 * float(gradient.norm()) + 1e-8, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_computed_once_changes_no_gradient(kind: Any, world: World) -> None:
    gradients = []
    for shared in (True, False):
        model = opened(world)
        method = kind(Settings(nll_weight=0.5), shared=shared)
        batch = method.collate(documents(PAIRS))
        loss = method.loss(model, batch)
        loss.total.backward()
        assert loss.count == batch.units == 3
        gradients.append((loss.total.item(), {name: one.grad for name, one in model.named_parameters()}, batch.tokens))
    (once, ours, fewer), (twice, theirs, more) = gradients
    assert once == pytest.approx(twice, rel=1e-5) and fewer == more - 11
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-6)


def test_a_packed_pair_learns_what_it_learns_alone(world: World) -> None:
    model, method = opened(world), DirectPreference(Settings(beta=0.3))
    together = method.loss(model, method.collate(documents(PAIRS))).total
    alone = [method.loss(model, method.collate([one])).total for one in documents(PAIRS)]
    assert together.item() == pytest.approx(sum(one.item() for one in alone), rel=1e-5)


@pytest.mark.parametrize("model_type", ["mistral", "qwen2"])
def test_a_sliding_window_reaches_across_the_branch(model_type: str, tmp_path: Any) -> None:
    from transformers import AutoConfig

    torch.manual_seed(0)
    shape = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 3}
    more = {"use_sliding_window": True, "max_window_layers": 0} if model_type == "qwen2" else {}
    config = AutoConfig.for_model(model_type, **shape, **heads, **more)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=register_branches(register()))
    found = []
    for shared in (True, False):
        batch = DirectPreference(Settings(), shared=shared).collate(documents(PAIRS))
        assert isinstance(batch, AnswerBatch)
        with torch.no_grad():
            found.append(likelihood(model, batch).sums)
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)


def test_the_first_loss_is_ln_2_under_every_reference(world: World) -> None:
    from peft import LoraConfig, get_peft_model

    method = DirectPreference(Settings())
    batch = method.collate(documents(PAIRS))
    assert isinstance(batch, AnswerBatch)
    model = opened(world)
    with torch.no_grad():
        sums = likelihood(model, batch).sums.tolist()
    kept = {key: tuple(sums[2 * at : 2 * at + 2]) for at, key in enumerate(batch.keys)}
    references: list[Reference] = [Copied(model), AtStart(model), Precomputed(kept)]
    adapted = get_peft_model(opened(world), LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]))
    for one, reference in [*((model, each) for each in references), (adapted, WithoutAdapter())]:
        method.reference = reference
        assert method.loss(one, batch).total.item() / 3 == pytest.approx(log(2), abs=1e-6)


def test_references_stay_where_they_began(world: World) -> None:
    method = DirectPreference(Settings())
    batch = method.collate(documents(PAIRS))
    assert isinstance(batch, AnswerBatch)
    model = opened(world)
    references = [Copied(model), AtStart(model)]
    before = references[0](model, batch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    now = {name: one.clone() for name, one in model.named_parameters()}
    for reference in references:
        torch.testing.assert_close(reference(model, batch), before)
    assert all(torch.equal(one, now[name]) for name, one in model.named_parameters()) and model.training is False
    with torch.no_grad():
        assert not torch.allclose(likelihood(model, batch).sums, before, atol=1e-2)
    assert Uniform()(model, batch).tolist() == [0.0] * 6


def test_the_likelihood_beside_a_loss_is_the_mean_over_its_tokens(world: World) -> None:
    model = opened(world).eval()
    plain, beside = (DirectPreference(Settings(nll_weight=weight)) for weight in (None, 0.5))
    batch = plain.collate(documents(PAIRS))
    chosen = [log_p(world, one.prompt, one.answers[0]) for one in PAIRS]
    with torch.no_grad():
        difference = (beside.loss(model, batch).total - plain.loss(model, batch).total).item()
    assert difference == pytest.approx(0.5 * 3 * -sum(chosen) / 9, rel=1e-4)


def test_orpo_also_learns_the_prompts_as_its_authors_do(world: World) -> None:
    batch = OddsRatio(Settings()).collate(documents(PAIRS))
    assert isinstance(batch, AnswerBatch)
    with torch.no_grad():
        found = likelihood(opened(world).eval(), batch)
    prompts = [log_p(world, one.prompt[:1], one.prompt[1:]) for one in PAIRS if len(one.prompt) > 1]
    chosen = [log_p(world, one.prompt, one.answers[0]) for one in PAIRS]
    every = found.by_token[batch.answer % 2 == 0]
    assert len(every) == 3 + 5 + 9 and every.sum().item() == pytest.approx(sum(prompts) + sum(chosen), abs=1e-3)


def test_kto_compares_each_prompt_with_the_answer_before_it(world: World) -> None:
    method = KahnemanTversky(Settings(beta=0.5, desirable_weight=0.8, undesirable_weight=1.2))
    batch = method.collate(documents(LABELLED))
    answers = [one.answers[0] for one in LABELLED]
    matched = [log_p(world, one.prompt, answer) for one, answer in zip(LABELLED, answers, strict=True)]
    others = [log_p(world, one.prompt, answers[at - 1]) for at, one in enumerate(LABELLED)]
    sums = [one for pair in zip(matched, others, strict=True) for one in pair]
    method.reference = lambda model, batch, chunked: torch.tensor(sums) - 40
    with torch.no_grad():
        loss = method.loss(opened(world).eval(), batch)
    # Every log-ratio is 40, and so is the drift: each answer is worth one half of its weight.
    assert loss.total.item() == pytest.approx(0.5 * (0.8 + 1.2 + 0.8), abs=1e-3)
    told = means([(loss.metrics, loss.count)])
    assert told["kl"] == pytest.approx(40, abs=1e-2) and told["rewards/rejected"] == pytest.approx(20, abs=1e-2)
    assert told["logps/rejected"] == pytest.approx(matched[1], abs=1e-3)


def test_kto_takes_no_drift_below_zero(world: World) -> None:
    method = KahnemanTversky(Settings(beta=0.5))
    batch = method.collate(documents(LABELLED))
    assert isinstance(batch, AnswerBatch)
    model = opened(world).eval()
    with torch.no_grad():
        sums = likelihood(model, batch).sums
        method.reference = lambda model, batch, chunked: sums + 2
        loss = method.loss(model, batch)
    # Every log-ratio is -2, and the drift 0 and not -2: wanted answers have lost, the unwanted one has gained.
    lost, gained = (1 - 1 / (1 + exp(-0.5 * gain)) for gain in (-2, 2))
    assert loss.total.item() == pytest.approx(2 * lost + gained, rel=1e-5) and float(loss.metrics["kl"]) == 0


def test_cpo_weighs_the_likelihood_as_much_as_the_contrast_unless_told_otherwise(world: World) -> None:
    model = opened(world).eval()
    methods = [ContrastivePreference(Settings(nll_weight=weight)) for weight in (None, 1.0, 0.0)]
    batch = methods[0].collate(documents(PAIRS))
    with torch.no_grad():
        usual, whole, without = (method.loss(model, batch).total.item() for method in methods)
    chosen = [log_p(world, one.prompt, one.answers[0]) for one in PAIRS]
    assert usual == whole and usual - without == pytest.approx(3 * -sum(chosen) / 9, rel=1e-4)


def test_a_reward_stands_at_an_answer_s_last_token(world: World) -> None:
    model = as_reward_model(opened(world), seed=3).eval()
    batch = Reward(Settings()).collate(documents(PAIRS))
    assert isinstance(batch, AnswerBatch)
    with torch.no_grad():
        found = rewards_of(model, batch)
        model.set_attn_implementation("sdpa")
        texts = [np.concatenate([one.prompt, answer]) for one in PAIRS for answer in one.answers]
        plain = [model(torch.from_numpy(text.astype(np.int64))[None]).logits.item() for text in texts]
    assert found.tolist() == pytest.approx(plain, abs=1e-5)


def test_what_is_told_of_a_batch(world: World) -> None:
    method = DirectPreference(Settings(beta=0.5))
    batch = method.collate(documents(PAIRS))
    chosen, rejected = ([log_p(world, one.prompt, one.answers[side]) for one in PAIRS] for side in (0, 1))
    with torch.no_grad():
        loss = method.loss(opened(world).eval(), batch)
    told = means([(loss.metrics, loss.count)])
    assert told["rewards/chosen"] == pytest.approx(0.5 * sum(chosen) / 3, rel=1e-4)
    assert told["rewards/margins"] == pytest.approx(0.5 * (sum(chosen) - sum(rejected)) / 3, rel=1e-3)
    right = sum(better > worse for better, worse in zip(chosen, rejected, strict=True)) / 3
    assert told["rewards/accuracies"] == pytest.approx(right)
    assert told["logps/chosen"] == pytest.approx(sum(chosen) / 3, rel=1e-4)
    assert told["logps/rejected"] == pytest.approx(sum(rejected) / 3, rel=1e-4)


def test_a_row_without_numbers_is_named() -> None:
    batch = DirectPreference(Settings()).collate(documents(PAIRS))
    assert isinstance(batch, AnswerBatch)
    with pytest.raises(RunError, match="do not cover") as error:
        Precomputed({})(torch.nn.Linear(1, 1), batch)
    assert "d:1" in error.value.faults[0].place


def test_no_reward_model_is_made_of_what_transformers_cannot_classify_with() -> None:
    from transformers import BloomConfig, BloomForCausalLM

    config = type("Own", (BloomConfig,), {"model_type": "own"})(vocab_size=8, hidden_size=8, n_layer=1, n_head=2)
    with pytest.raises(ModelError, match="no sequence classifier"):
        as_reward_model(BloomForCausalLM(config), seed=0)
