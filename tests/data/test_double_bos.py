"""A begin token that is written twice is counted, and what writes it is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.data.encoder import Encoder
from luthier.data.pipeline import prepare
from luthier.plan.volume import estimate
from tests.conftest import World, write_jsonl
from tests.data.made import make_tokenizer, recipe_of

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endfor %}"
ASK = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TALK = {"messages": [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]}
ASKED = {"instruction": "Where?", "input": "", "output": "Here."}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokenizer(tmp_path_factory.mktemp("bos"), around="<s> $A", bos_token="<s>")


def notes(
    world: World, tokenizer: Path, folder: Path, rows: list[dict[str, Any]], source: dict[str, Any], **data: Any
) -> tuple[str, ...]:
    """What is said of the rows: the plan says of its sample what preparation does of all."""
    path = write_jsonl(folder / "d.jsonl", rows)
    recipe = recipe_of(world, data={"train": [{"path": str(path), **source}], **data})
    planned = estimate(recipe, tokenizer, Encoder.open(tokenizer)).notes
    store, _ = prepare(recipe, recipe.data.train, tokenizer)
    assert set(planned) <= set(store.summary.get("notes", ()))
    return planned


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_template_that_writes_it_twice_is_named(world: World, tokenizer: Path, tmp_path: Path, times: int) -> None:
    file = tmp_path / "own.jinja"
    file.write_text("{{ bos_token }}" * times + TURNS + ASK)
    said = notes(world, tokenizer, tmp_path, [TALK, TALK], {}, template=str(file))
    if times < 2:
        assert not said
        return
    assert len(said) == 1 and f"2 of 2 documents begin with <s> twice (the first is {tmp_path}/d.jsonl:1)" in said[0]
    assert f"take one bos_token (or <s>) out of the template {file}" in said[0]


@pytest.mark.parametrize(("form", "doubled"), [("<s>{instruction}\n", True), ("{instruction}\n", False)])
def test_a_prompt_that_begins_with_it_is_named(
    world: World, tokenizer: Path, tmp_path: Path, form: str, doubled: bool
) -> None:
    said = notes(world, tokenizer, tmp_path, [ASKED] * 3, {"format": "alpaca", "prompt": {"format": form}})
    assert bool(said) is doubled
    assert not doubled or "prompt.format" in said[0]


def test_ids_of_one_s_own_are_named(world: World, tokenizer: Path, tmp_path: Path) -> None:
    bos = Encoder.open(tokenizer).id_of("bos_token")
    rows = [{"input_ids": [bos, 9, 8]}, {"input_ids": [bos, bos, 8]}]
    said = notes(world, tokenizer, tmp_path, rows, {})
    assert "1 of 2 documents" in said[0] and "d.jsonl:2" in said[0] and "the rows' own ids" in said[0]


def test_a_begin_token_in_text_is_ordinary_text(world: World, tokenizer: Path, tmp_path: Path) -> None:
    rows = [{"text": "<s>Once upon a time."}]
    path = write_jsonl(tmp_path / "d.jsonl", rows)
    recipe = recipe_of(world, data={"train": [{"path": str(path)}]}, method={"kind": "pretrain"})
    store, _ = prepare(recipe, recipe.data.train, tokenizer)
    bos = Encoder.open(tokenizer).id_of("bos_token")
    assert store.ids.tolist().count(bos) == 1 and "twice" not in str(store.summary.get("notes"))
