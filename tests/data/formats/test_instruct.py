"""Questions and answers in the columns of well-known datasets."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.data.example import Example, Message, Row, RowFault
from luthier.registry import resolve


def read(name: str, **columns: Any) -> Example:
    example: Example = resolve("formats", name)(Row("d:1", columns))
    return example


REFLECTED = "### Thought:\n3\n\n### Agent Reflection:\nNo.\n\n### Final Response:\n2"


@pytest.mark.parametrize(
    ("name", "columns", "question", "given", "answer"),
    [
        ("gpteacher", {"instruction": "Add.", "input": "1+1", "response": "2"}, "Add.\n\n1+1", "1+1", "2"),
        ("gpteacher", {"instruction": "Add.", "response": "2"}, "Add.", None, "2"),
        ("oasst", {"INSTRUCTION": "Hi", "RESPONSE": "Ho"}, "Hi", None, "Ho"),
        ("question_answer", {"question": "Who?", "answer": "Mira."}, "Who?", None, "Mira."),
        ("jeopardy", {"question": "Red.", "category": "X", "answer": "a beet"}, "Red.\n\nX", "X", "what is a beet"),
        (
            "reflection",
            {"instruction": "Add.", "input": "1+1", "output": "3", "reflection": "No.", "corrected": "2"},
            "Add.\n\n1+1",
            "1+1",
            REFLECTED,
        ),
        (
            "choices",
            {"question": "Who?", "choices": ["Mira", "Tom"], "solution": "Mira", "explanation": "so"},
            'Who?\n\n- "Mira"\n- "Tom"',
            '- "Mira"\n- "Tom"',
            "Mira",
        ),
        ("choices", {"question": "Who?", "choices": ["A"], "explanation": "so"}, 'Who?\n\n- "A"', '- "A"', "so"),
        ("summary", {"article": "Long.", "summary": "L."}, "Long.", None, "L."),
    ],
)  # fmt: skip
def test_columns_become_a_question_and_its_answer(
    name: str, columns: dict[str, Any], question: str, given: str | None, answer: str
) -> None:
    example = read(name, **columns)
    assert example.messages == (Message("user", question), Message("assistant", answer))
    assert example.extra == ({"input": given} if given else {}) and example.origin == "d:1"


def test_a_system_column_comes_first() -> None:
    assert read("oasst", INSTRUCTION="Hi", RESPONSE="Ho", system="S").messages[0] == Message("system", "S")


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("gpteacher", ("instruction", "response")),
        ("oasst", ("INSTRUCTION", "RESPONSE")),
        ("question_answer", ("question", "answer")),
        ("jeopardy", ("question", "category", "answer")),
        ("reflection", ("instruction", "output", "reflection", "corrected")),
        ("choices", ("choices", "question", "explanation")),
        ("summary", ("article", "summary")),
    ],
)
def test_each_column_is_needed_and_is_text(name: str, columns: tuple[str, ...]) -> None:
    whole: dict[str, Any] = {column: ["x"] if column == "choices" else "x" for column in columns}
    for column in columns:
        with pytest.raises(RowFault, match=f"has no column '{column}'") as caught:
            read(name, **{key: value for key, value in whole.items() if key != column})
        assert caught.value.remedy
        with pytest.raises(RowFault, match=f"column '{column}' "):
            read(name, **{**whole, column: 5})


@pytest.mark.parametrize("choices", ["one", [], [1]])
def test_choices_are_a_list_of_texts(choices: Any) -> None:
    with pytest.raises(RowFault, match="column 'choices' is not a list of texts"):
        read("choices", question="Who?", choices=choices, solution="x")
