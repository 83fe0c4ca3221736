"""Alpaca's rows."""

from __future__ import annotations

import pytest

from luthier.data.example import Example, Message, Row, RowFault
from luthier.data.formats.alpaca import read


def test_the_input_follows_the_instruction_after_a_blank_line() -> None:
    row = Row("d:3", {"instruction": "Add.", "input": "1+1", "output": "2"})
    messages = (Message("user", "Add.\n\n1+1"), Message("assistant", "2"))
    assert read(row) == Example(messages, "d:3", extra={"input": "1+1"})


@pytest.mark.parametrize("given", [{}, {"input": ""}, {"input": None}])
def test_an_empty_input_leaves_no_trace(given: dict[str, str | None]) -> None:
    example = read(Row("d:1", {"instruction": "Add.", "output": "2", **given}))
    assert example.messages[0].content == "Add." and example.extra == {}


def test_a_system_column_comes_first() -> None:
    messages = read(Row("d:1", {"instruction": "Add.", "output": "2", "system": "Be brief."})).messages
    assert messages[0] == Message("system", "Be brief.")
    assert [message.role for message in messages] == ["system", "user", "assistant"]


@pytest.mark.parametrize("missing", ["instruction", "output"])
def test_a_missing_column_is_named_with_those_that_are_there(missing: str) -> None:
    values = {"instruction": "Add.", "output": "2"}
    del values[missing]
    with pytest.raises(RowFault, match=rf"has no column '{missing}' \(columns: {next(iter(values))}\)") as caught:
        read(Row("d:1", values))
    assert caught.value.remedy


@pytest.mark.parametrize("column", ["instruction", "input", "output", "system"])
def test_a_column_that_is_no_text_is_named(column: str) -> None:
    row = Row("d:1", {"instruction": "Add.", "output": "2", column: 5})
    with pytest.raises(RowFault, match=f"column '{column}' holds int, not text"):
        read(row)
