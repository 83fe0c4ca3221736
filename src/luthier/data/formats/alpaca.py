"""Stanford Alpaca's rows: instruction, optional input, output."""

from __future__ import annotations

from luthier.data.example import Example, Message, Row, text_of


def read(row: Row) -> Example:
    """One user turn (instruction, a blank line, the input if there is one) and one answer.

    The input is kept beside them too: the template alpaca has a heading for it.

    >>> read(Row("d.jsonl:1", {"instruction": "Add.", "input": "1+1", "output": "2"})).messages[0].content
    'Add.\\n\\n1+1'
    """
    return asked(row, text_of(row, "instruction"), text_of(row, "output"), text_of(row, "input", required=False))


def asked(row: Row, question: str, answer: str, given: str = "") -> Example:
    """One question, with the input it is ``given``, and its answer; a column ``system`` comes before them."""
    system = text_of(row, "system", required=False)
    messages = [Message("user", f"{question}\n\n{given}" if given else question), Message("assistant", answer)]
    if system:
        messages.insert(0, Message("system", system))
    return Example(tuple(messages), row.origin, extra={"input": given} if given else {})
