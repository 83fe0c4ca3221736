"""What a row says."""

from __future__ import annotations

import pytest

from luthier.data.example import Message, Row, RowFault, text_of


def test_a_message_is_told_to_templates_without_what_is_ours() -> None:
    assert Message("user", "Hi", trained=True).tree() == {"role": "user", "content": "Hi"}


def test_an_empty_text_is_a_text() -> None:
    assert text_of(Row("d:1", {"a": ""}), "a") == ""


def test_an_optional_column_may_be_missing_but_not_something_else() -> None:
    assert text_of(Row("d:1", {}), "a", required=False) == ""
    with pytest.raises(RowFault, match="column 'a' holds list, not text"):
        text_of(Row("d:1", {"a": []}), "a", required=False)
