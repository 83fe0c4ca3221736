"""What a row says."""

from __future__ import annotations

import pytest

from luthier.data.example import Example, Message, Piece, Row, RowFault, missing, pieced, text_of


def test_a_message_is_told_to_templates_without_what_is_ours() -> None:
    assert Message("user", "Hi", trained=True).tree() == {"role": "user", "content": "Hi"}


def test_what_templates_write_besides_comes_with_it() -> None:
    message = Message("assistant", "Ho", learned=((0, 1),), fields={"reasoning_content": "Hm."})
    assert message.tree() == {"role": "assistant", "content": "Ho", "reasoning_content": "Hm."}


def test_pieces_are_one_text_that_no_template_touches() -> None:
    example = pieced((Piece("Q "), Piece("A")), "d:1", framed=True, label=True)
    assert example.plain and example.messages[0].content == "Q A"
    assert (example.origin, example.framed, example.label) == ("d:1", True, True)
    assert not Example((Message("user", "Hi"),), "d:1").plain


def test_a_missing_column_is_told_with_those_that_would_do() -> None:
    fault = missing(Row("d:1", {"x": 1, "y": 2}), "a", "b")
    assert fault.reason == "has no column 'a' or 'b' (columns: x, y)" and fault.remedy


def test_an_empty_text_is_a_text() -> None:
    assert text_of(Row("d:1", {"a": ""}), "a") == ""


def test_an_optional_column_may_be_missing_but_not_something_else() -> None:
    assert text_of(Row("d:1", {}), "a", required=False) == ""
    with pytest.raises(RowFault, match="column 'a' holds list, not text"):
        text_of(Row("d:1", {"a": []}), "a", required=False)
