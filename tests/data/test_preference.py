"""Judged rows as documents: where prompts end, what is cut, and how they come back out of a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.encoder import Encoder
from luthier.data.example import Example, Message, Row, pieced
from luthier.data.example import Piece as Text
from luthier.data.formats.pairs import labelled, pairs
from luthier.data.order import feed_of
from luthier.data.pipeline import prepare
from luthier.data.preference import Judged, fit_judged, judged_tokens, taken_apart
from luthier.data.preference_batch import collate_judged
from luthier.data.template import ChatTemplate
from luthier.data.template_names import template_source
from luthier.data.tokens import Fate
from luthier.errors import DataError
from luthier.recipe.data import Data
from luthier.recipe.validate import build
from tests.conftest import World, write_jsonl

IDS = st.lists(st.integers(0, 1000), min_size=1, max_size=8).map(lambda ids: np.array(ids, np.int32))


@given(prompt=IDS, answers=st.tuples(IDS, IDS) | st.tuples(IDS), wanted=st.booleans())
def test_a_document_is_taken_apart_as_it_was_put_together(prompt: Any, answers: Any, wanted: bool) -> None:
    one = Judged(prompt, answers, wanted or len(answers) == 2)
    back = taken_apart(one.tokens("d:1"))
    assert back.prompt.tolist() == prompt.tolist() and back.wanted == one.wanted
    assert [part.tolist() for part in back.answers] == [part.tolist() for part in answers]


def made(world: World, *examples: Example) -> list[Judged]:
    encoder = Encoder.open(world.model)
    template = ChatTemplate(template_source("chatml", encoder), encoder)
    return [taken_apart(one) for one in judged_tokens(examples, lambda: template, encoder, ("assistant",))]


def test_a_prompt_ends_where_the_answer_begins_and_an_answer_with_its_end_token(world: World) -> None:
    row = {"prompt": "Where does Mira live?", "chosen": "In the mill.", "rejected": "In the barn, maybe."}
    (one,) = made(world, pairs(Row("d:1", row)))
    encoder = Encoder.open(world.model)
    assert encoder.decode(one.prompt.tolist(), skip_control=False).endswith("<|im_start|>assistant\n")
    texts = [encoder.decode(answer.tolist(), skip_control=False) for answer in one.answers]
    assert texts == ["In the mill.<|im_end|>", "In the barn, maybe.<|im_end|>"]


def test_turns_that_are_shared_are_part_of_the_prompt(world: World) -> None:
    turns = [("user", "Hi."), ("assistant", "Hello."), ("user", "Where?")]
    shared = [{"role": role, "content": content} for role, content in turns]
    ends = [[*shared, {"role": "assistant", "content": text}] for text in ("In the mill.", "No.")]
    (one,) = made(world, pairs(Row("d:1", {"chosen": ends[0], "rejected": ends[1]})))
    assert "Hello." in Encoder.open(world.model).decode(one.prompt.tolist())


def test_conversations_that_part_early_have_answers_of_several_turns(world: World) -> None:
    start, more = Message("user", "Hi."), Message("user", "More?")
    better = (start, Message("assistant", "Hello."), more, Message("assistant", "Yes."))
    worse = (start, Message("assistant", "What?"), more, Message("assistant", "No."))
    (one,) = made(world, Example(better, "d:1", rejected=worse))
    texts = [Encoder.open(world.model).decode(answer.tolist()) for answer in one.answers]
    assert all("More?" in text for text in texts) and texts[0].startswith("Hello.") and "No." in texts[1]


def test_an_answer_that_is_not_wanted_says_so(world: World) -> None:
    rows = [{"prompt": "Where?", "completion": "There.", "label": label} for label in (True, False)]
    good, bad = made(world, *(labelled(Row("d:1", row)) for row in rows))
    assert (good.wanted, bad.wanted) == (True, False) and good.answers[0].tolist() == bad.answers[0].tolist()


def test_answers_in_pieces_of_text_are_framed(world: World) -> None:
    prompt = Text("Where? ", "user")
    example = pieced((prompt, Text("In the mill.")), "d:1", framed=True, rejected_pieces=(prompt, Text("In the barn.")))
    (one,) = made(world, example)
    encoder = Encoder.open(world.model)
    assert encoder.decode(one.prompt.tolist()).strip() == "Where?"
    assert [answer[-1] for answer in one.answers] == [encoder.id_of("eos_token")] * 2


@pytest.mark.parametrize("kind", ["turns", "pieces"])
def test_a_pair_of_the_same_answer_twice_is_one_and_told_of(kind: str, world: World, tmp_path: Path) -> None:
    row = {"prompt": "Where does Mira live?", "chosen": "In the mill.", "rejected": "In the mill."}
    pieces = (Text("Where? ", "user"), Text("In the mill."))
    example = pairs(Row("d:1", row)) if kind == "turns" else pieced(pieces, "d:1", rejected_pieces=pieces)
    (one,) = made(world, example)
    texts = [Encoder.open(world.model).decode(part.tolist()).strip() for part in (one.prompt, *one.answers)]
    assert "Where" in texts[0] and texts[1:] == ["In the mill."] * 2
    path = write_jsonl(tmp_path / "rows.jsonl", [row, {**row, "rejected": "In the barn."}])
    recipe = build(world.recipe(method={"kind": "dpo"}, data={"train": [{"path": str(path)}]}), str)
    store, _ = prepare(recipe, recipe.data.train, world.model)
    assert len(store) == 2
    (note,) = store.summary["notes"]
    assert note.startswith(f"{path}: 1 rows have a chosen and a rejected answer that are the same")


@pytest.mark.parametrize(("kind", "told"), [("reward", 1), ("dpo", 0)])
def test_margins_that_a_reward_model_does_not_learn_are_told_of(
    kind: str, told: int, world: World, tmp_path: Path
) -> None:
    row = {"prompt": "Where does Mira live?", "chosen": "In the mill.", "rejected": "In the barn."}
    path = write_jsonl(tmp_path / "rows.jsonl", [{**row, "margin": 0.5}, {**row, "margin": None}, {**row, "margin": 0}])
    recipe = build(world.recipe(method={"kind": kind}, data={"train": [{"path": str(path)}]}), str)
    store, _ = prepare(recipe, recipe.data.train, world.model)
    notes = store.summary.get("notes", [])
    assert len(store) == 3 and len(notes) == told
    assert all(note.startswith(f"{path}: 1 rows have a margin") for note in notes)


def judged(prompt: int, chosen: int, rejected: int) -> Any:
    ids = np.arange(prompt + chosen + rejected, dtype=np.int32)
    return Judged(ids[:prompt], (ids[prompt : prompt + chosen], ids[prompt + chosen :])).tokens("d:1")


@pytest.mark.parametrize(
    ("policy", "lengths", "max_prompt", "fate", "left"),
    [
        ("drop", (6, 4, 2), None, Fate.KEPT, (6, 4, 2)),
        ("drop", (6, 4, 5), None, Fate.DROPPED, None),
        ("drop", (6, 4, 5), 5, Fate.TRUNCATED, (5, 4, 5)),
        ("refuse", (6, 4, 5), None, Fate.REFUSED, None),
        ("truncate", (6, 7, 2), None, Fate.TRUNCATED, (6, 4, 2)),
        ("truncate", (6, 4, 2), 3, Fate.TRUNCATED, (3, 4, 2)),
        ("truncate", (12, 4, 2), None, Fate.VANISHED, None),
        ("keep_answer", (6, 4, 2), 3, Fate.KEPT, (6, 4, 2)),
        ("keep_answer", (9, 4, 2), 3, Fate.TRUNCATED, (6, 4, 2)),
        ("keep_answer", (9, 6, 2), 5, Fate.TRUNCATED, (5, 5, 2)),
        ("keep_answer", (9, 9, 2), 3, Fate.TRUNCATED, (3, 7, 2)),
        ("keep_answer", (9, 4, 2), None, Fate.TRUNCATED, (6, 4, 2)),
        ("keep_answer", (9, 20, 2), None, Fate.TRUNCATED, (2, 8, 2)),
    ],
)
def test_prompts_lose_their_head_and_answers_their_tail(
    policy: Any, lengths: Any, max_prompt: int | None, fate: Fate, left: Any
) -> None:
    whole = judged(*lengths)
    found, pieces = fit_judged(whole, Data(max_length=10, overlong=policy), max_prompt)
    assert found is fate and len(pieces) == (left is not None)
    if left is None:
        return
    before, after = taken_apart(whole), taken_apart(pieces[0])
    assert (len(after.prompt), *map(len, after.answers)) == left
    assert after.prompt.tolist() == before.prompt[-left[0] :].tolist()
    assert [one.tolist() for one in after.answers] == [
        one[:size].tolist() for one, size in zip(before.answers, left[1:], strict=True)
    ]


@pytest.mark.parametrize(
    ("kind", "row", "reason", "remedy"),
    [
        ("dpo", {"prompt": "a", "completion": "b", "label": True}, "no rejected answer", "kto"),
        ("kto", {"prompt": "a", "chosen": "b", "rejected": "c"}, "no label", "dpo"),
        ("reward", {"instruction": "a", "output": "b"}, "no rejected answer", "chosen and rejected"),
        ("sft", {"prompt": "a", "chosen": "b", "rejected": "c"}, "judges its answers", "another method.kind"),
    ],
)
def test_rows_that_a_method_does_not_learn_from_are_refused(
    kind: str, row: dict[str, Any], reason: str, remedy: str, world: World, tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [row])
    recipe = build(world.recipe(method={"kind": kind}, data={"train": [{"path": str(path)}]}), str)
    with pytest.raises(DataError) as error:
        prepare(recipe, recipe.data.train, world.model)
    assert reason in error.value.faults[0].reason and remedy in error.value.faults[0].remedy


def test_pairs_are_packed_whole_under_room_for_two_answers(world: World, tmp_path: Path) -> None:
    rows = [{"prompt": f"Where {n}?", "chosen": "In the mill. " * n, "rejected": "In the barn."} for n in range(1, 9)]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    data = {"train": [{"path": str(path)}], "max_length": 64, "overlong": "truncate"}
    recipe = build(world.recipe(method={"kind": "dpo"}, data=data), str)
    store, _ = prepare(recipe, recipe.data.train, world.model)
    feed = feed_of(recipe, store.lengths)
    assert feed.capacity == 128 and len(store) == 8
    packs = feed.packs(0)
    assert sorted(packs.documents.tolist()) == list(range(8)) and len(packs) < 8
    assert max(taken_apart(one).longest for one in store) <= 64
    other = recipe.model_copy(update={"method": recipe.method.model_copy(update={"max_prompt_length": 4})})
    shorter, cached = prepare(other, other.data.train, world.model)
    assert not cached and {len(taken_apart(one).prompt) for one in shorter} == {4}


def test_a_batch_of_pairs_has_every_prompt_once() -> None:
    one = Judged(np.array([5, 6]), (np.array([7]), np.array([8, 9])))
    batch = collate_judged([one.tokens("d:1"), one.tokens("d:2")])
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9] * 2] and batch.position_ids.tolist() == [[0, 1, 2, 2, 3] * 2]
    assert batch.branches == ((2, 1, 2), (2, 1, 2)) and batch.boundaries.tolist() == [0, 5, 10]
    assert batch.where.tolist() == [1, 1, 3, 6, 6, 8] and batch.wanted.tolist() == [7, 8, 9] * 2
    assert batch.answer.tolist() == [0, 1, 1, 2, 3, 3] and batch.last.tolist() == [2, 4, 7, 9]
    assert (batch.units, batch.targets, batch.tokens) == (2, 6, 10) and batch.keys[0] == batch.keys[1]


def test_a_batch_of_labelled_answers_has_each_and_the_one_before_it() -> None:
    rows = [Judged(np.array([5]), (np.array([7, 8]),)), Judged(np.array([6]), (np.array([9]),), wanted=False)]
    batch = collate_judged([one.tokens("d") for one in rows], mismatched=True)
    assert batch.input_ids.tolist() == [[5, 7, 8, 9, 6, 9, 7, 8]] and batch.good.tolist() == [True, False]
    assert batch.branches == ((1, 2, 1), (1, 1, 2))
