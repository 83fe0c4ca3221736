"""A model measured as a recipe says."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message
from luthier.data.template import ChatTemplate
from luthier.data.template_names import template_source
from luthier.evaluate.measure import answered, perplexity
from luthier.model.attention import register
from luthier.recipe.validate import build
from tests.conftest import World


def test_sampled_answers_differ_from_step_to_step_and_seed_to_seed_and_are_the_same_again(world: World) -> None:
    encoder = Encoder.open(world.model)
    template = ChatTemplate(template_source("chatml", encoder), encoder)
    model = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation=register())
    rows = [Example((Message("user", text), Message("assistant", "b")), text) for text in ("Who?", "Where is it?")]

    def said(step: int, seed: int = 1) -> list[Any]:
        generation = {"max_new_tokens": 8, "temperature": 2.0}
        tree = world.recipe(seed=seed, evaluate={"generation": generation, "metrics": ["exact_match"]})
        found = answered(model, rows, template, encoder, build(tree, str), step=step, autocast=nullcontext)
        return [row["answer"] for row in found.rows]

    first = said(1)
    assert said(1) == first
    assert first not in (said(2), said(1, seed=2))


def test_a_loss_beyond_all_powers_of_e_is_an_infinite_perplexity() -> None:
    assert perplexity(0.0) == 1.0 and perplexity(699.0) == pytest.approx(math.exp(699.0))
    assert perplexity(701.0) == perplexity(math.inf) == math.inf and math.isnan(perplexity(math.nan))
