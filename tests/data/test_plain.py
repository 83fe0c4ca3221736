"""What each format becomes in the end: the whole text, and which characters of it are learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from luthier.data.encoder import Encoder
from luthier.data.example import TEXT, Piece
from luthier.data.pipeline import prepare
from luthier.data.plain import piece_spans, text_spans
from luthier.data.span import Span
from luthier.data.tokens import Tokens
from luthier.errors import DataError
from luthier.recipe import Recipe
from tests.conftest import World, write_jsonl
from tests.data.made import learned_by_id, make_tokenizer, recipe_of, talk

Settings = dict[str, Any]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer that puts <s> before a text."""
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"), around="<s> $A", bos_token="<s>")


@pytest.fixture(scope="module")
def marked(tokenizer: Path) -> Encoder:
    return Encoder.open(tokenizer)


def recipe(world: World, rows: list[Settings], path: Path, source: Settings, **sections: Any) -> Recipe:
    written = write_jsonl(path / "rows.jsonl", rows)
    data = {"train": [{"path": str(written), **source}], "max_length": 512, **sections.pop("data", {})}
    return recipe_of(world, data=data, **sections)


def made(
    world: World, row: Settings, path: Path, tokenizer: Path, source: Settings | None = None, **more: Any
) -> Tokens:
    wanted = recipe(world, [row], path, source or {}, **more)
    store, _ = prepare(wanted, wanted.data.train, tokenizer)
    (tokens,) = store
    return tokens


def text_of(tokens: Tokens, encoder: Encoder) -> str:
    return encoder.decode(tokens.ids.tolist(), skip_control=False)


def turn(role: str, content: str, **more: Any) -> Settings:
    return {"role": role, "content": content, **more}


ASKED = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
TALK = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]
OWN = {"format": "Q: {instruction} ({input})\nA: ", "no_input_format": "Q: {instruction}\nA: "}

GOLDEN: dict[str, tuple[Settings, Settings, str, list[str]]] = {
    "alpaca": (
        {"instruction": "Add.", "input": "1+1", "output": "2"}, {}, ASKED.format("Add.\n\n1+1"), ["2<|im_end|>"],
    ),
    "human_assistant": ({"human": "Hi", "assistant": "Ho"}, {}, ASKED.format("Hi"), ["Ho<|im_end|>"]),
    "messages": ({"conversations": TALK}, {}, ASKED.format("Hi"), ["Ho<|im_end|>"]),
    "gpteacher": ({"instruction": "Add.", "response": "2"}, {}, ASKED.format("Add."), ["2<|im_end|>"]),
    "oasst": ({"INSTRUCTION": "Hi", "RESPONSE": "Ho"}, {}, ASKED.format("Hi"), ["Ho<|im_end|>"]),
    "question_answer": (
        {"question": "Who?", "answer": "I"}, {"format": "question_answer"}, ASKED.format("Who?"), ["I<|im_end|>"],
    ),
    "jeopardy": (
        {"question": "Red.", "category": "FOOD", "answer": "a beet"}, {"format": "jeopardy"},
        ASKED.format("Red.\n\nFOOD"), ["what is a beet<|im_end|>"],
    ),
    "reflection": (
        {"instruction": "Add.", "output": "3", "reflection": "No.", "corrected": "2"}, {}, ASKED.format("Add."),
        ["### Thought:\n3\n\n### Agent Reflection:\nNo.\n\n### Final Response:\n2<|im_end|>"],
    ),
    "choices": (
        {"question": "Who?", "choices": ["I", "you"], "solution": "I"}, {"format": "choices"},
        ASKED.format('Who?\n\n- "I"\n- "you"'), ["I<|im_end|>"],
    ),
    "summary": ({"article": "Long.", "summary": "L."}, {"format": "summary"}, ASKED.format("Long."), ["L.<|im_end|>"]),
    "completion": ({"prompt": "Hi", "completion": "Ho"}, {}, ASKED.format("Hi"), ["Ho<|im_end|>"]),
    "completion of a talk": (
        {"prompt": [turn("user", "Hi"), turn("assistant", "Ho"), turn("user", "So?")], "completion": "No"}, {},
        ASKED.format("Hi") + "Ho<|im_end|>\n" + ASKED.format("So?"), ["No<|im_end|>"],
    ),
    "text": ({"text": "Once."}, {}, "<s>", ["Once.</s>"]),
    "input_output": (
        {"segments": [{"label": i == 1, "text": text} for i, text in enumerate(("<s>Hi ", " Ho</s>", "x"))]}, {},
        "<s>Hi ", [" Ho</s>"],
    ),
    "prompt": (
        {"instruction": "Add.", "input": "1+1", "output": "2"}, {"prompt": OWN}, "<s>Q: Add. (1+1)\nA: ", ["2</s>"],
    ),
    "prompt without input": ({"instruction": "Add.", "output": "2"}, {"prompt": OWN}, "<s>Q: Add.\nA: ", ["2</s>"]),
    "prompt with control tokens": (
        {"instruction": "Hi", "output": "Ho"},
        {"prompt": {"format": "<|im_start|>{instruction}<|im_end|>", "answer": "{output}<|im_end|>"}},
        "<s><|im_start|>Hi<|im_end|>", ["Ho<|im_end|></s>"],
    ),
    "turns of other names": (
        {"talk": [{"who": "asker", "says": "Hi"}, {"who": "bot", "says": "Ho"}]},
        {"columns": {"messages": "talk"}, "turns": turn("who", "says"), "roles": {"user": ["asker"]}},
        ASKED.format("Hi"), ["Ho<|im_end|>"],
    ),
    "turns that say what is learned": (
        {"messages": [turn("user", "Hi", learn=True), turn("assistant", "Ho", learn=False)]},
        {"turns": {"trained": "learn"}}, "<|im_start|>user\n", ["Hi<|im_end|>"],
    ),
    "parts": (
        {"messages": [turn("user", "Hi"), turn("assistant", "Ho, Mira. Ho", trained_parts=[[4, 8]])]},
        {}, ASKED.format("Hi") + "Ho, ", ["Mira", "<|im_end|>"],
    ),
    "roles of one source": (
        {"human": "Hi", "assistant": "Ho"}, {"train_on": ["user"]}, "<|im_start|>user\n", ["Hi<|im_end|>"],
    ),
    "roles of one prompt": (
        {"instruction": "Add.", "output": "2"}, {"prompt": OWN, "train_on": ["user", "assistant"]}, "<s>",
        ["Q: Add.\nA: 2</s>"],
    ),
    "without system messages": (
        {"messages": [turn("system", "S"), turn("user", "Hi"), turn("assistant", "Ho")]},
        {"drop_system": True}, ASKED.format("Hi"), ["Ho<|im_end|>"],
    ),
}  # fmt: skip


def test_documents_are_learned_whole_and_literally() -> None:
    assert text_spans(talk((TEXT, "Once <|im_end|>."))) == [Span("Once <|im_end|>.", trained=True, literal=True)]
    told = text_spans(replace(talk((TEXT, "Once <|im_end|>.")), control=True))
    assert told == [Span("Once <|im_end|>.", trained=True, literal=False)]


@pytest.mark.parametrize("name", GOLDEN)
def test_each_format_learns_what_it_should(
    name: str, world: World, tmp_path: Path, tokenizer: Path, marked: Encoder
) -> None:
    row, source, before, learned = GOLDEN[name]
    tokens = made(world, row, tmp_path, tokenizer, source)
    assert learned_by_id(tokens, marked) == learned
    assert text_of(tokens, marked).startswith(before + learned[0])
    assert tokens.trained.tolist().index(True) == len(marked.encode([before])[0])


def test_ids_are_taken_as_they_are(world: World, tmp_path: Path, tokenizer: Path) -> None:
    row = {"input_ids": [7, 8, 9, 0], "attention_mask": [1, 1, 1, 0], "labels": [-100, 8, 9, -100]}
    tokens = made(world, row, tmp_path, tokenizer)
    assert tokens.ids.tolist() == [7, 8, 9] and tokens.trained.tolist() == [False, True, True]
    assert tokens.origin.endswith("rows.jsonl:1")


def test_an_id_that_the_tokenizer_lacks_is_refused(
    world: World, tmp_path: Path, tokenizer: Path, marked: Encoder
) -> None:
    with pytest.raises(DataError, match=f"holds the id {marked.vocabulary}") as caught:
        made(world, {"input_ids": [5, marked.vocabulary]}, tmp_path, tokenizer)
    assert caught.value.faults[0].place.endswith("rows.jsonl:1") and caught.value.faults[0].remedy


def test_unlabelled_segments_are_learned_where_questions_are(
    world: World, tmp_path: Path, tokenizer: Path, marked: Encoder
) -> None:
    row = {"segments": [{"label": False, "text": "Hi "}, {"label": True, "text": "Ho"}]}
    tokens = made(world, row, tmp_path, tokenizer, data={"train_on": ["user", "assistant"]})
    assert learned_by_id(tokens, marked) == ["Hi Ho"]


def test_a_control_token_that_a_row_gives_is_text(
    world: World, tmp_path: Path, tokenizer: Path, marked: Encoder
) -> None:
    row = {"instruction": "a</s>b", "output": "c</s>"}
    tokens = made(world, row, tmp_path, tokenizer, {"prompt": {"format": "</s>{instruction}: "}})
    end = marked.id_of("eos_token")
    assert text_of(tokens, marked) == "<s></s>a</s>b: c</s></s>"
    assert tokens.ids.tolist().count(end) == 2 and tokens.ids[-1] == end


def test_a_control_token_that_a_row_gives_is_one_when_asked(
    world: World, tmp_path: Path, tokenizer: Path, marked: Encoder
) -> None:
    source = {"prompt": {"format": "{instruction}: "}, "control_tokens": "control"}
    tokens = made(world, {"instruction": "a</s>b", "output": "c</s>"}, tmp_path, tokenizer, source)
    assert text_of(tokens, marked) == "<s>a</s>b: c</s>"
    assert tokens.ids.tolist().count(marked.id_of("eos_token")) == 2


@pytest.mark.parametrize("source", [{}, {"prompt": {"format": "{instruction}"}}], ids=["text", "prompt"])
@pytest.mark.parametrize(("special", "ends"), [(True, 1), (False, 0), (False, 1), (True, 0)])
def test_what_stands_around_a_text_can_be_left_out(
    world: World, tmp_path: Path, tokenizer: Path, marked: Encoder, source: Settings, special: bool, ends: int
) -> None:
    row = {"instruction": "O", "output": "nce."} if source else {"text": "Once."}
    settings = {**source, "special_tokens": special, "end_tokens": ends}
    tokens = made(world, row, tmp_path, tokenizer, settings)
    assert text_of(tokens, marked) == "<s>" * special + "Once." + "</s>" * ends


def test_pieces_are_tokenised_apart(marked: Encoder) -> None:
    spans = piece_spans([Piece("a<s>b", "user", given=((1, 4),)), Piece("c", trained=True)], marked, ["user"])
    assert [(s.text, s.trained, s.literal, s.apart) for s in spans] == [
        ("a", True, False, True), ("<s>", True, True, False), ("b", True, False, False), ("c", True, False, True),
    ]  # fmt: skip


def test_an_end_token_is_not_put_twice(world: World, tmp_path: Path, tokenizer: Path, marked: Encoder) -> None:
    source = {"prompt": {"format": "{instruction} ", "answer": "{output}</s>"}}
    tokens = made(world, {"instruction": "Hi", "output": "Ho"}, tmp_path, tokenizer, source)
    assert text_of(tokens, marked) == "<s>Hi Ho</s>" and tokens.trained[-1]


@pytest.mark.parametrize("kind", ["sft", "pretrain"])
@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Who?", "chosen": "Mira.", "rejected": "Dunno."},
        {"prompt": "Who?", "completion": "Dunno.", "label": False},
    ],
    ids=["pairs", "labelled"],
)
def test_judged_answers_are_never_learned_as_if_they_were_right(
    world: World, tmp_path: Path, tokenizer: Path, row: Settings, kind: str
) -> None:
    source = {"prompt": {"format": "{instruction}"}} if kind == "pretrain" else {}
    with pytest.raises(DataError, match=f"judges its answers, which method.kind {kind}") as caught:
        made(world, row, tmp_path, tokenizer, source, method={"kind": kind})
    assert caught.value.faults[0].place.endswith("rows.jsonl:1")
