"""Every token has the reason that its row and recipe give it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from luthier.data.encoder import Encoder
from luthier.recipe import Recipe
from luthier.show.rows import row_at
from luthier.show.text import pieces_of
from luthier.show.why import explain
from tests.conftest import World, write_jsonl
from tests.data.made import make_tokenizer, recipe_of
from tests.data.spaced import make_spaced_tokenizer

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is <|im_end|>?"},
    {"role": "assistant", "content": "Here, 中文😀."},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "There."},
]


def told(recipe: Recipe, tokenizer: Path, row: int = 1) -> list[tuple[str, int, str]]:
    """(reason, turn, text) of every stretch of a row."""
    encoder = Encoder.open(tokenizer)
    found = explain(row_at(recipe, row), recipe, encoder)
    pieces = pieces_of(found.tokens.ids.tolist(), encoder)
    assert len(pieces) == len(found.reasons)
    groups = itertools.groupby(zip(found.reasons, pieces, strict=True), key=lambda pair: pair[0])
    return [(reason.kind, reason.turn, "".join(piece for _, piece in group)) for reason, group in groups]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def recipe_for(
    world: World, file: Path, row: dict[str, Any], source: dict[str, Any] | None = None, **data: Any
) -> Recipe:
    write_jsonl(file, [row])
    return recipe_of(world, data={"train": [{"path": str(file), **(source or {})}], "max_length": 999, **data})


def test_each_turn_and_the_template_around_it(world: World, file: Path) -> None:
    assert told(recipe_for(world, file, {"messages": TALK}), world.model) == [
        ("template", 0, "<|im_start|>system\n"),
        ("other_role", 1, "Be brief.<|im_end|>"),
        ("template", 0, "\n<|im_start|>user\n"),
        ("other_role", 2, "Where is <|im_end|>?<|im_end|>"),
        ("template", 0, "\n<|im_start|>assistant\n"),
        ("role", 3, "Here, 中文😀."),
        ("terminator", 3, "<|im_end|>"),
        ("template", 0, "\n<|im_start|>user\n"),
        ("other_role", 4, "And?<|im_end|>"),
        ("template", 0, "\n<|im_start|>assistant\n"),
        ("role", 5, "There."),
        ("terminator", 5, "<|im_end|>"),
        ("template", 0, "\n"),
    ]


def test_a_space_before_a_turn_goes_with_its_first_word(world: World, file: Path) -> None:
    row = {"messages": [{"role": "user", "content": "lives in the mill"}, TALK[2]]}
    found = told(recipe_for(world, file, row, template="vicuna"), world.model)
    assert [text for kind, _, text in found if kind == "other_role"] == [" lives in the mill "]


def kinds(recipe: Recipe, tokenizer: Path) -> dict[int, str]:
    """The reason of each turn's text."""
    return {turn: kind for kind, turn, _ in told(recipe, tokenizer) if kind != "terminator"}


def test_who_decided_is_told_apart(world: World, file: Path) -> None:
    flagged = [*TALK[:2], {**TALK[2], "trained": False}, {**TALK[3], "trained": True}, TALK[4]]
    assert kinds(recipe_for(world, file, {"messages": flagged}), world.model) == {
        0: "template", 1: "other_role", 2: "other_role", 3: "row_off", 4: "row", 5: "role",
    }  # fmt: skip
    by_source = recipe_for(world, file, {"messages": flagged}, {"train_on": ["system"]})
    assert kinds(by_source, world.model) == {
        0: "template", 1: "source", 2: "source_off", 3: "row_off", 4: "row", 5: "source_off",
    }  # fmt: skip
    both = recipe_for(world, file, {"messages": TALK}, train_on=["assistant", "user"])
    assert kinds(both, world.model) == {0: "template", 1: "other_role", 2: "role", 3: "role", 4: "role", 5: "role"}


def test_the_last_turn_alone(world: World, file: Path) -> None:
    found = kinds(recipe_for(world, file, {"messages": TALK}, last_turn_only=True), world.model)
    assert found[3] == "earlier_turn" and found[5] == "role"


def test_a_system_message_that_the_recipe_adds_is_no_turn_of_the_row(world: World, file: Path) -> None:
    found = told(recipe_for(world, file, {"messages": TALK[1:3]}, system="Be kind."), world.model)
    assert ("system", 0, "Be kind.<|im_end|>") in found
    assert ("other_role", 1, "Where is <|im_end|>?<|im_end|>") in found and ("role", 2, "Here, 中文😀.") in found


def test_stretches_of_a_turn(world: World, file: Path) -> None:
    row = [TALK[1], {**TALK[2], "trained_parts": [[0, 4]]}]
    found = told(recipe_for(world, file, {"messages": row}), world.model)
    assert [one for one in found if one[1] == 2] == [
        ("stretch", 2, "Here"),
        ("stretch_off", 2, ", 中文😀."),
        ("terminator", 2, "<|im_end|>"),
    ]


def test_a_plain_document_and_its_end(world: World, file: Path) -> None:
    write_jsonl(file, [{"text": "Tom lives."}])
    recipe = recipe_of(world, data={"train": [{"path": str(file)}]}, method={"kind": "pretrain"})
    assert told(recipe, world.model) == [("document", 0, "Tom lives."), ("end", 0, "<|im_end|>")]


def test_what_the_tokenizer_puts_before_a_text(world: World, file: Path, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path / "tokenizer", around="<s> $A")
    write_jsonl(file, [{"text": "Where is it?"}])
    recipe = recipe_of(world, data={"train": [{"path": str(file)}]}, method={"kind": "pretrain"})
    assert told(recipe, tokenizer) == [("tokenizer", 0, "<s>"), ("document", 0, "Where is it?"), ("end", 0, "</s>")]


def test_segments_and_ready_labels(world: World, file: Path) -> None:
    segments = [{"label": False, "text": "Where?\n"}, {"label": True, "text": "Here."}]
    recipe = recipe_for(world, file, {"segments": segments}, {"format": "input_output"})
    assert told(recipe, world.model)[:2] == [("other_role", 1, "Where?\n"), ("row", 2, "Here.")]
    ready = recipe_for(world, file, {"input_ids": [5, 6, 7], "labels": [-100, 6, 7]})
    assert [kind for kind, _, _ in told(ready, world.model)] == ["labels_off", "labels"]


def test_a_tokenizer_that_puts_spaces_before_words(world: World, file: Path, tmp_path: Path) -> None:
    special = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
    tokenizer = make_spaced_tokenizer(tmp_path, special, ["Where is it? Here, there."])
    found = told(recipe_for(world, file, {"messages": TALK[1:3]}), tokenizer)
    learned = "".join(text for kind, _, text in found if kind in ("role", "terminator"))
    assert learned.startswith("Here,") and all(turn == 2 for kind, turn, _ in found if kind == "role")


@pytest.mark.parametrize("template", ["chatml", "alpaca", "llama3", "chatglm3", "plain", "firefly/qwen", "zephyr"])
def test_learned_tokens_and_no_others_have_a_reason_to_be_learned(world: World, file: Path, template: str) -> None:
    recipe = recipe_for(world, file, {"messages": TALK[1:3]}, template=template)
    encoder = Encoder.open(world.model)
    found = explain(row_at(recipe, 1), recipe, encoder)
    learned = [reason.kind in ("role", "terminator") for reason in found.reasons]
    assert learned == found.tokens.trained.tolist() and any(learned)
    assert "other_role" in {reason.kind for reason in found.reasons}


def test_an_answer_that_lost_its_beginning_is_told(world: World, file: Path) -> None:
    answer = {"role": "assistant", "content": "Here and there and everywhere else too. " * 3}
    row = {"messages": [TALK[1], answer, TALK[3], TALK[4]]}
    recipe = recipe_for(world, file, row, max_length=60, overlong="keep_answer")
    found = explain(row_at(recipe, 1), recipe, Encoder.open(world.model))
    fate, parts = found.fitted(recipe)
    assert fate == "truncated" and len(parts) == 1
    reasons = [reason.kind for reason in found.reasons_of(*parts[0])]
    assert reasons[0] == "beginning_lost" and reasons[-1] in ("role", "terminator")
