"""Plain documents: the column text."""

from __future__ import annotations

from luthier.data.example import TEXT, Example, Message, Row, RowFault, text_of


def read(row: Row) -> Example:
    """The document as it stands.

    >>> [message] = read(Row("s.txt:1", {"text": "Once."})).messages
    >>> message.role, message.content
    ('text', 'Once.')
    """
    text = text_of(row, "text")
    if not text.strip():
        raise RowFault("the text is empty", "remove the row")
    return Example((Message(TEXT, text),), row.origin)
