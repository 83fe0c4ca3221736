"""Generation: batches change nothing, stops are cut off, the model comes back as it was."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from luthier.data.encoder import Encoder
from luthier.data.template import ChatTemplate, template_source
from luthier.evaluate.generate import generate, stop_ids
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
    assert together == generate(model, PROMPTS, settings, stops=[], pad=0, batch=1)
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
