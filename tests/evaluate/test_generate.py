"""Generation: batches change nothing, stops are cut off, the model comes back as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.template import ChatTemplate
from luthier.data.template_names import template_source
from luthier.evaluate.generate import answer, generate, groups, positions_of, stop_ids
from luthier.model.attention import NAME, register
from luthier.recipe.evaluate import Generation
from tests.conftest import World

PROMPTS = [[5, 9, 11], [30, 7, 12, 44, 50, 61], [80, 3]]


@pytest.fixture
def model(world: World) -> torch.nn.Module:
    loaded: torch.nn.Module = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation=register())
    return loaded


def test_a_batch_answers_as_each_prompt_alone(model: torch.nn.Module) -> None:
    settings = Generation(max_new_tokens=9)
    together = generate(model, PROMPTS, settings, stops=[], pad=0)
    assert together == [generate(model, [one], settings, stops=[], pad=0)[0] for one in PROMPTS]
    assert together == generate(model, PROMPTS, settings, stops=[], pad=0, rows=1)
    assert all(len(answer) == 9 for answer in together)


def test_greedy_generation_is_the_likeliest_token_each_time(model: torch.nn.Module) -> None:
    answer = generate(model, PROMPTS[:1], Generation(max_new_tokens=5), stops=[], pad=0)[0]
    ids = list(PROMPTS[0])
    for expected in answer:
        with torch.no_grad():
            logits = model(torch.tensor([ids]), use_cache=False, document_lengths=(len(ids),)).logits
        assert int(logits[0, -1].argmax()) == expected
        ids.append(expected)


def test_the_answer_ends_before_the_stop(model: torch.nn.Module) -> None:
    free = generate(model, PROMPTS[:1], Generation(max_new_tokens=9), stops=[], pad=0)[0]
    stopped = generate(model, PROMPTS[:1], Generation(max_new_tokens=9), stops=[free[4]], pad=0)[0]
    assert stopped == free[: free.index(free[4])]


def test_the_model_comes_back_as_it_was(model: torch.nn.Module) -> None:
    model.train()
    generate(model, PROMPTS, Generation(max_new_tokens=2), stops=[], pad=0)
    assert model.training
    assert model.config._attn_implementation == NAME


def test_sampling_follows_the_seed(model: torch.nn.Module) -> None:
    settings = Generation(max_new_tokens=8, temperature=2.0)
    answers = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        answers.append(generate(model, PROMPTS, settings, stops=[], pad=0))
    assert answers[0] == answers[1] != answers[2]


def test_stops_are_the_end_of_text_and_the_end_of_a_turn(world: World) -> None:
    encoder = Encoder.open(world.model)
    template = ChatTemplate(template_source("chatml", encoder), encoder)
    assert stop_ids(template, encoder) == [encoder.tokenizer.token_to_id("<|im_end|>")]
    other = ChatTemplate(template_source("chatml", encoder).replace("<|im_end|>", "<|endoftext|>"), encoder)
    assert stop_ids(other, encoder) == [2, 0]


SAMPLING = {"temperature": 1.5}


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        ({"repetition_penalty": 3.0}, {"repetition_penalty": 3.0}),
        ({"beams": 3}, {"num_beams": 3}),
        ({"beams": 3, "length_penalty": -4.0}, {"num_beams": 3, "length_penalty": -4.0}),
        ({"min_new_tokens": 6}, {"min_new_tokens": 6}),
        (SAMPLING, {"do_sample": True, "temperature": 1.5, "top_k": 0, "top_p": 1.0}),
        ({**SAMPLING, "top_k": 2}, {"do_sample": True, "temperature": 1.5, "top_k": 2, "top_p": 1.0}),
        ({**SAMPLING, "top_p": 0.2}, {"do_sample": True, "temperature": 1.5, "top_k": 0, "top_p": 0.2}),
    ],
    ids=lambda value: "-".join(value),
)
def test_each_setting_is_transformers_own(
    settings: dict[str, Any], theirs: dict[str, Any], model: Any, world: World
) -> None:
    """The same ids as a plain ``generate`` with the same arguments, and others than without."""
    likeliest = generate(model, PROMPTS[:1], Generation(max_new_tokens=24), stops=[], pad=0)[0]
    stops = [likeliest[3]] if {"min_new_tokens", "length_penalty"} & set(settings) else []
    plain = AutoModelForCausalLM.from_pretrained(world.model).eval()
    torch.manual_seed(7)
    ids = torch.tensor(PROMPTS[:1])
    given = {"do_sample": False, "max_new_tokens": 24, "eos_token_id": stops or None, "pad_token_id": 0, **theirs}
    expected = plain.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **given)[0, ids.shape[1] :].tolist()
    torch.manual_seed(7)
    found = generate(model, PROMPTS[:1], Generation(max_new_tokens=24, **settings), stops=stops, pad=0)[0]
    assert found == next((expected[:at] for at, one in enumerate(expected) if one in stops), expected)
    assert found != next((likeliest[:at] for at, one in enumerate(likeliest) if one in stops), likeliest)


def test_answers_end_where_the_positions_do(model: Any) -> None:
    most = positions_of(model)
    prompts = [[5] * (most - 3), [5] * most, [5, 6]]
    answers = generate(model, prompts, Generation(max_new_tokens=8), stops=[], pad=0)
    assert [len(one) for one in answers] == [3, 0, 8]
    assert answers[2] == generate(model, prompts[2:], Generation(max_new_tokens=8), stops=[], pad=0)[0]


def test_no_more_rows_or_tokens_go_together_than_there_is_room_for() -> None:
    settings = Generation(max_new_tokens=10)
    lengths = [4, 6, 5, 90, 10, 7]
    assert list(groups(lengths, settings, 1000, 2, None)) == [([0, 2], 10), ([1, 5], 10), ([4, 3], 10)]
    found = list(groups(lengths, settings, 1000, 64, 50))
    assert found == [([0, 2, 1], 10), ([5, 4], 10), ([3], 10)]
    assert all(len(group) * (max(lengths[one] for one in group) + 10) <= 50 for group, _ in found[:-1])
    beams = Generation(max_new_tokens=10, beams=2)
    assert [group for group, _ in groups(lengths, beams, 1000, 64, 50)] == [[0], [2], [1], [5], [4], [3]]
    assert list(groups(lengths, settings, 20, 64, None)) == [([0, 2, 1, 5, 4], 10)]


def test_sampled_answers_follow_the_seed_and_leave_the_random_numbers_alone(model: Any, world: World) -> None:
    encoder = Encoder.open(world.model)
    template = ChatTemplate(template_source("chatml", encoder), encoder)
    rows = [Example((Message("user", text), Message("assistant", "b")), text) for text in ("Who?", "Where is it?")]

    def said(seed: int) -> list[str]:
        settings = Generation(max_new_tokens=8, temperature=2.0)
        return [one.answer for one in answer(model, rows, template, encoder, settings, seed=seed)]

    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = said(1)
    assert torch.equal(torch.rand(2), expected)
    assert said(1) == first != said(2)
