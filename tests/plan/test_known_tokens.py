"""Tokens that a tokenizer has are not added to it: in the plan, before it is opened, as in the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Fast
from tokenizers import models

from luthier.model.known_tokens import added_tokens
from luthier.model.new_tokens import new_ids, write_changed
from luthier.plan.layers import layer_faults
from luthier.plan.plan import plan_recipe
from luthier.plan.support import unsupported
from luthier.recipe.tokenizer import Tokenizer
from tests.conftest import World
from tests.plan.conftest import Make

NEW = ("<new>", "Mira lives")


def had(world: World) -> tuple[str, ...]:
    """A control token that is there, and an ordinary one."""
    tree = json.loads((world.model / "tokenizer.json").read_text(encoding="utf-8"))
    return tree["added_tokens"][0]["content"], list(tree["model"]["vocab"])[-1]


def test_the_tokens_that_are_added_are_those_that_get_ids(world: World, tmp_path: Path) -> None:
    spec = Tokenizer(added=(NEW[1], had(world)[1]), added_special=(had(world)[0], NEW[0]), eos="<|stop|>", pad=NEW[0])
    write_changed(world.model, tmp_path, spec)
    assert added_tokens(spec, world.model) == (NEW[0], "<|stop|>", NEW[1])
    assert len(new_ids(world.model, tmp_path)) == 3


def test_a_unigrams_list_of_tokens_is_read_too(tmp_path: Path) -> None:
    Fast(models.Unigram([("a", -1.0), ("b", -2.0)], 0)).save(str(tmp_path / "tokenizer.json"))
    assert added_tokens(Tokenizer(added=("a", "c")), tmp_path) == ("c",)


@pytest.mark.parametrize("content", [None, "{", '{"model": {}}'])
def test_all_are_added_to_a_tokenizer_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    assert added_tokens(Tokenizer(added=("a",)), tmp_path) == ("a",)


@pytest.mark.parametrize("adapter", [{"kind": "lora"}, {"kind": "ia3"}])
def test_the_plan_counts_rows_of_new_tokens_alone(make: Make, world: World, adapter: dict[str, Any]) -> None:
    def trained(*tokens: str) -> int:
        return plan_recipe(make(adapter=adapter, tokenizer={"added": list(tokens)})).parameters["trainable"]

    assert trained(*had(world)) == trained()
    assert trained(*had(world), *NEW) == trained(*NEW) > trained()


def test_tokens_that_are_there_are_no_reason_to_refuse(make: Make, world: World) -> None:
    on_rows = {"kind": "lora", "targets": ["q_proj", "embed_tokens"]}
    assert list(layer_faults(make(adapter=on_rows, tokenizer={"added": list(had(world))}))) == []
    assert len(list(layer_faults(make(adapter=on_rows, tokenizer={"added": list(NEW)})))) == 1
    prompt = make(adapter={"kind": "prompt"}, tokenizer={"added": list(had(world))})
    assert "tokenizer.added" not in [fault.place for fault in unsupported(prompt)]
