"""Plain documents."""

from __future__ import annotations

import pytest

from luthier.data.example import TEXT, Message, Row, RowFault
from luthier.data.formats.text import read


def test_the_document_stays_as_it_stands() -> None:
    assert read(Row("s.txt:4", {"text": "  Once.\n "})).messages == (Message(TEXT, "  Once.\n "),)


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_an_empty_document_is_a_fault(text: str) -> None:
    with pytest.raises(RowFault, match="the text is empty"):
        read(Row("s.txt:4", {"text": text}))


def test_a_missing_text_is_a_fault() -> None:
    with pytest.raises(RowFault, match=r"no column 'text' \(columns: none\)"):
        read(Row("s.txt:4", {}))
