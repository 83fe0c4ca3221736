"""Question tables."""

from __future__ import annotations

import pytest

from luthier.data.example import Message, Row, RowFault
from luthier.data.formats.human_assistant import read


def test_the_category_is_kept_beside_the_turns() -> None:
    example = read(Row("q.csv:2", {"category": "home", "human": "Where?", "assistant": "Here."}))
    assert example.messages == (Message("user", "Where?"), Message("assistant", "Here."))
    assert example.extra == {"category": "home"}
    assert example.origin == "q.csv:2"


@pytest.mark.parametrize("category", [{}, {"category": ""}, {"category": None}])
def test_a_table_needs_no_category(category: dict[str, str | None]) -> None:
    assert read(Row("q.csv:2", {"human": "Where?", "assistant": "Here.", **category})).extra == {}


@pytest.mark.parametrize("column", ["human", "assistant"])
def test_both_sides_are_needed(column: str) -> None:
    with pytest.raises(RowFault, match=f"no column '{column}'"):
        read(Row("q.csv:2", {"human": "Where?", "assistant": "Here.", column: None}))
