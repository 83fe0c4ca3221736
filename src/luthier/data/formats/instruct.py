"""Rows of one question and one answer in the columns of well-known datasets; all read as Alpaca's do."""

from __future__ import annotations

from luthier.data.example import Example, Row, RowFault, missing, text_of
from luthier.data.formats.alpaca import asked

_REFLECTED = "### Thought:\n{output}\n\n### Agent Reflection:\n{reflection}\n\n### Final Response:\n{corrected}"


def gpteacher(row: Row) -> Example:
    """GPTeacher: instruction, optional input, response."""
    return asked(row, text_of(row, "instruction"), text_of(row, "response"), text_of(row, "input", required=False))


def oasst(row: Row) -> Example:
    """Open Assistant as question and answer: INSTRUCTION, RESPONSE."""
    return asked(row, text_of(row, "INSTRUCTION"), text_of(row, "RESPONSE"))


def question_answer(row: Row) -> Example:
    """Questions: question, answer.

    >>> [m.content for m in question_answer(Row("d:1", {"question": "Who?", "answer": "Mira."})).messages]
    ['Who?', 'Mira.']
    """
    return asked(row, text_of(row, "question"), text_of(row, "answer"))


def jeopardy(row: Row) -> Example:
    """Jeopardy: the clue (question) with its category as input; the answer is put as the show wants it."""
    return asked(row, text_of(row, "question"), f"what is {text_of(row, 'answer')}", text_of(row, "category"))


def reflection(row: Row) -> Example:
    """Alpaca with second thoughts: the answer is output, reflection and corrected under headings."""
    parts = {name: text_of(row, name) for name in ("output", "reflection", "corrected")}
    return asked(row, text_of(row, "instruction"), _REFLECTED.format(**parts), text_of(row, "input", required=False))


def choices(row: Row) -> Example:
    """Multiple choice: question, choices (a list of texts, the input), and a solution or an explanation of it."""
    listed = row.value.get("choices")
    if listed is None:
        raise missing(row, "choices")
    if not isinstance(listed, list) or not listed or not all(isinstance(one, str) for one in listed):
        raise RowFault("column 'choices' is not a list of texts", 'write ["one", "another", …]')
    answer = text_of(row, "solution", required=False) or text_of(row, "explanation")
    return asked(row, text_of(row, "question"), answer, "\n".join(f'- "{one}"' for one in listed))


def summary(row: Row) -> Example:
    """Summaries: the article is the question, its summary the answer."""
    return asked(row, text_of(row, "article"), text_of(row, "summary"))
