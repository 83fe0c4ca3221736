"""Stanford Alpaca's rows: instruction, optional input, output."""

from __future__ import annotations

from luthier.data.example import Example, Message, Row, text_of


def read(row: Row) -> Example:
    """One user turn (instruction, a blank line, the input if there is one) and one answer.

    >>> read(Row("d.jsonl:1", {"instruction": "Add.", "input": "1+1", "output": "2"})).messages[0].content
    'Add.\\n\\n1+1'
    """
    asked, given = text_of(row, "instruction"), text_of(row, "input", required=False)
    system = text_of(row, "system", required=False)
    messages = [
        Message("user", f"{asked}\n\n{given}" if given else asked),
        Message("assistant", text_of(row, "output")),
    ]
    if system:
        messages.insert(0, Message("system", system))
    return Example(tuple(messages), row.origin)
