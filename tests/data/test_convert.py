"""Formats are detected; rows that are not of theirs are told of together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.data.convert import MOST_SHOWN, attempts_of, detect, examples_of
from luthier.data.example import Example, Message, Row
from luthier.errors import DataError, Fault, RecipeError
from tests.conftest import write_jsonl
from tests.data.made import source_of

GOOD: dict[str, Any] = {"human": "Where?", "assistant": "Here."}
BAD: dict[str, Any] = {"human": "Where?"}


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
