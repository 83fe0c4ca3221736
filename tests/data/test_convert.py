"""Formats are detected; rows that are not of theirs are told of together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from luthier.data.convert import MOST_SHOWN, attempts_of, detect
from luthier.data.corpus import examples
from luthier.data.example import Example, Message, Row
from luthier.errors import DataError, Fault, RecipeError
from luthier.recipe import Recipe
from luthier.recipe.data import Data
from luthier.recipe.source import Source
from luthier.registry import TABLES
from tests.conftest import write_jsonl
from tests.data.made import source_of

GOOD: dict[str, Any] = {"human": "Where?", "assistant": "Here."}
BAD: dict[str, Any] = {"human": "Where?"}


def examples_of(source: Source, *, bad_rows: int = 0, set_aside: list[Fault] | None = None) -> Iterator[Example]:
    """The examples of one source, as every run reads them."""
    return examples(Recipe(data=Data(bad_rows=bad_rows)), [source], set_aside)


def rows(path: Path, pattern: str) -> Path:
    return write_jsonl(path / "d.jsonl", [GOOD if letter == "+" else BAD for letter in pattern])


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ("messages", "messages"),
        ("conversations id", "messages"),
        ("conversation", "messages"),
        ("instruction output", "alpaca"),
        ("instruction input output text", "alpaca"),
        ("category human assistant", "human_assistant"),
        ("text meta", "text"),
        ("input_ids attention_mask labels text", "tokens"),
        ("segments", "input_output"),
        ("prompt chosen rejected", "pairs"),
        ("instruction chosen_response rejected_response", "pairs"),
        ("prompt completion label", "labelled"),
        ("prompt completion", "completion"),
        ("instruction output reflection corrected", "reflection"),
        ("instruction input response", "gpteacher"),
        ("INSTRUCTION RESPONSE", "oasst"),
    ],
)
def test_columns_show_their_format(columns: str, name: str) -> None:
    assert detect(Row("d:1", dict.fromkeys(columns.split(), "x"))) == name


@pytest.mark.parametrize("columns", ["instruction", "human", "question answer", ""])
def test_columns_of_no_format_are_named(columns: str) -> None:
    with pytest.raises(DataError) as caught:
        detect(Row("d.jsonl:1", dict.fromkeys(columns.split(), "x")))
    fault = caught.value.faults[0]
    assert fault.place == "d.jsonl:1" and fault.remedy
    assert fault.reason == f"no format fits the columns {', '.join(sorted(columns.split()))}"


def test_an_empty_column_shows_nothing() -> None:
    assert detect(Row("d:1", {"messages": None, "text": "x"})) == "text"


def test_columns_of_two_formats_are_refused() -> None:
    with pytest.raises(DataError, match="fit the formats pairs and messages") as caught:
        detect(Row("d.jsonl:1", dict.fromkeys(("prompt", "messages", "chosen", "rejected"), "x")))
    assert caught.value.faults[0].place == "d.jsonl:1" and caught.value.faults[0].remedy


def test_the_columns_are_renamed_before_the_format_is_detected(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"q": "Where?", "a": "Here."}])
    example = next(examples_of(source_of(path, columns={"instruction": "q", "output": "a"})))
    assert example.messages == (Message("user", "Where?"), Message("assistant", "Here."))


def test_a_named_format_wins_over_the_columns(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{**GOOD, "text": "A document."}])
    assert next(examples_of(source_of(path, format="text"))).messages == (Message("text", "A document."),)


def test_a_format_may_be_the_users_own_function(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"x": "abc"}])
    example = next(examples_of(source_of(path, format="tests.data.test_convert:backwards")))
    assert example == Example((Message("text", "cba"),), f"{path}:1")


def backwards(row: Row) -> Example:
    return Example((Message("text", row.value["x"][::-1]),), row.origin)


@pytest.mark.parametrize("name", TABLES["formats"])
def test_every_format_refuses_a_strange_row_as_a_bad_row(tmp_path: Path, name: str) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"strange": 1}])
    (attempt,) = attempts_of(source_of(path, format=name))
    assert isinstance(attempt, Fault) and attempt.place == f"{path}:1" and attempt.remedy
    assert "strange" in attempt.reason


TALK = {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]}


def one(tmp_path: Path, row: dict[str, Any], **settings: Any) -> Example | Fault:
    (attempt,) = attempts_of(source_of(write_jsonl(tmp_path / "d.jsonl", [row]), **settings))
    return attempt


def test_system_messages_can_be_left_out_of_both_answers(tmp_path: Path) -> None:
    row = {"prompt": "Who?", "chosen": "Mira.", "rejected": "Dunno.", "system": "S"}
    example = one(tmp_path, row, drop_system=True)
    assert isinstance(example, Example)
    assert [message.role for message in (*example.messages, *example.rejected)] == ["user", "assistant"] * 2


def test_a_row_that_is_nothing_but_a_system_message_is_a_bad_one(tmp_path: Path) -> None:
    attempt = one(tmp_path, {"messages": TALK["messages"][:1]}, drop_system=True)
    assert isinstance(attempt, Fault) and "nothing but a system message" in attempt.reason


def test_what_a_source_learns_is_written_on_its_turns(tmp_path: Path) -> None:
    turns = [*TALK["messages"], {"role": "user", "content": "x", "trained": False}]
    example = one(tmp_path, {"messages": turns}, train_on=("user",))
    assert isinstance(example, Example)
    assert [message.trained for message in example.messages] == [False, True, False]


def test_a_plain_document_stays_whole_whatever_is_learned(tmp_path: Path) -> None:
    example = one(tmp_path, {"text": "Once."}, train_on=("user",), prompt={"format": "{instruction}"})
    assert isinstance(example, Example) and example.messages == (Message("text", "Once."),)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"roles": {"asker": ("user",)}}, "'asker' is not a role"),
        ({"prompt": {"format": "{input}"}}, "has no place for the question"),
        ({"prompt": {"no_input_format": "x"}}, "has no place for the question"),
    ],
)
def test_settings_of_a_source_that_cannot_be_are_refused(tmp_path: Path, settings: Any, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        one(tmp_path, TALK, **settings)
    assert caught.value.faults[0].place and caught.value.faults[0].remedy


def test_only_the_named_files_of_a_folder_are_read(tmp_path: Path) -> None:
    for name in "abc":
        write_jsonl(tmp_path / f"{name}.jsonl", [{"text": name}])
    examples = examples_of(source_of(tmp_path, files=("c.jsonl", "a.jsonl")))
    assert [example.messages[0].content for example in examples] == ["c", "a"]
    with pytest.raises(DataError, match="there is no such file") as caught:
        list(examples_of(source_of(tmp_path, files=("d.jsonl",))))
    assert caught.value.faults[0].place.endswith("d.jsonl")


def test_an_unknown_format_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'alpaca'"):
        list(examples_of(source_of(rows(tmp_path, "+"), format="alpacca")))


def test_every_bad_row_is_told_of_at_once(tmp_path: Path) -> None:
    path = rows(tmp_path, "-+--+")
    with pytest.raises(DataError) as caught:
        list(examples_of(source_of(path, format="human_assistant")))
    assert [fault.place for fault in caught.value.faults] == [f"{path}:{line}" for line in (1, 3, 4)]
    assert all("no column 'assistant'" in fault.reason and fault.remedy for fault in caught.value.faults)


def test_bad_rows_within_the_budget_are_set_aside(tmp_path: Path) -> None:
    path = rows(tmp_path, "+-+-")
    aside: list[Fault] = []
    kept = list(examples_of(source_of(path), bad_rows=2, set_aside=aside))
    assert [example.origin for example in kept] == [f"{path}:1", f"{path}:3"]
    assert [fault.place for fault in aside] == [f"{path}:2", f"{path}:4"]


def test_one_bad_row_above_the_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(examples_of(source_of(rows(tmp_path, "+-+--")), bad_rows=2))
    assert len(caught.value.faults) == 3


def test_the_budget_is_one_for_all_sources(tmp_path: Path) -> None:
    aside: list[Fault] = []
    path = rows(tmp_path, "+-")
    list(examples_of(source_of(path), bad_rows=1, set_aside=aside))
    with pytest.raises(DataError):
        list(examples_of(source_of(path), bad_rows=1, set_aside=aside))


def test_a_file_of_nothing_but_bad_rows_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [BAD] * (MOST_SHOWN + 3))
    with path.open("a") as file:
        file.write("this line would be another error\n")
    with pytest.raises(DataError) as caught:
        list(examples_of(source_of(path, format="human_assistant"), bad_rows=2))
    assert len(caught.value.faults) == MOST_SHOWN


def test_a_large_budget_reads_on_after_many_bad_rows(tmp_path: Path) -> None:
    path = rows(tmp_path, "+" + "-" * (MOST_SHOWN + 3) + "+")
    kept = list(examples_of(source_of(path), bad_rows=MOST_SHOWN + 5))
    assert [example.origin for example in kept] == [f"{path}:1", f"{path}:{MOST_SHOWN + 5}"]


def test_half_a_surrogate_pair_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": "whole \\ud83d\\ude00"}\n{"text": "half \\ud83d"}\n')
    first, second = attempts_of(source_of(path))
    assert isinstance(first, Example) and first.messages[0].content == "whole \U0001f600"
    assert isinstance(second, Fault) and second.place == f"{path}:2"
    assert second.reason == "holds half a character (\\ud83d)" and second.remedy


def test_attempts_keep_the_place_of_every_row(tmp_path: Path) -> None:
    kinds = [type(attempt) for attempt in attempts_of(source_of(rows(tmp_path, "+-+")))]
    assert kinds == [Example, Fault, Example]
