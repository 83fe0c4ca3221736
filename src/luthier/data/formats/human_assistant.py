"""Question tables: the columns category (optional), human, assistant."""

from __future__ import annotations

from luthier.data.example import Example, Message, Row, text_of


def read(row: Row) -> Example:
    """One question and one answer; the category is kept beside them.

    >>> [m.role for m in read(Row("q.csv:2", {"category": "home", "human": "Where?", "assistant": "Here."})).messages]
    ['user', 'assistant']
    """
    messages = (Message("user", text_of(row, "human")), Message("assistant", text_of(row, "assistant")))
    category = text_of(row, "category", required=False)
    return Example(messages, row.origin, extra={"category": category} if category else {})
