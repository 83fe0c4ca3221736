"""Answers that are judged."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.data.example import Example, Message, Row, RowFault
from luthier.data.formats.pairs import completion, labelled, pairs

ASKED = {"role": "user", "content": "Who?"}
BETTER, WORSE = {"role": "assistant", "content": "Mira."}, {"role": "assistant", "content": "Dunno."}
MIRA = (Message("user", "Who?"), Message("assistant", "Mira."))
DUNNO = (Message("user", "Who?"), Message("assistant", "Dunno."))


def pair(**columns: Any) -> Example:
    return pairs(Row("d:1", columns))


@pytest.mark.parametrize(
    "columns",
    [
        {"prompt": "Who?", "chosen": "Mira.", "rejected": "Dunno."},
        {"question": "Who?", "chosen": "Mira.", "rejected": "Dunno."},
        {"input": "Who?", "chosen": "Mira.", "rejected": "Dunno."},
        {"instruction": "Who?", "chosen_response": "Mira.", "rejected_response": "Dunno."},
        {"prompt": [ASKED], "chosen": [BETTER], "rejected": [WORSE]},
        {"messages": [ASKED], "chosen": BETTER, "rejected": WORSE},
        {"prompt": "Who?", "chosen": [ASKED, BETTER], "rejected": [ASKED, WORSE]},
        {"chosen": [ASKED, BETTER], "rejected": [ASKED, WORSE]},
    ],
    ids=["text", "intel", "icr", "argilla", "turns", "chat_template", "ultra", "firefly"],
)
def test_every_spelling_of_a_pair_is_one(columns: dict[str, Any]) -> None:
    example = pair(**columns)
    assert (example.messages, example.rejected) == (MIRA, DUNNO)


def test_a_pair_may_part_before_its_last_turn() -> None:
    more = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "There."}]
    example = pair(chosen=[ASKED, BETTER, *more], rejected=[ASKED, WORSE])
    assert len(example.messages) == 4 and example.rejected == DUNNO


def test_a_system_column_comes_first_in_both() -> None:
    example = pair(prompt="Who?", chosen="Mira.", rejected="Dunno.", system="Be brief.")
    assert example.messages[0] == example.rejected[0] == Message("system", "Be brief.")


@pytest.mark.parametrize(("value", "label"), [(True, True), (False, False), (1, True), (0, False)])
def test_single_answers_have_a_label(value: Any, label: bool) -> None:
    example = labelled(Row("d:1", {"prompt": "Who?", "completion": "Mira.", "label": value}))
    assert example.messages == MIRA and example.label is label and not example.rejected


def test_a_completion_needs_no_label() -> None:
    example = completion(Row("d:1", {"prompt": [ASKED], "completion": [BETTER]}))
    assert example.messages == MIRA and example.label is None


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"prompt": "Who?", "chosen": "Mira."}, "has no column 'rejected' or 'rejected_response'"),
        ({"chosen": "Mira.", "rejected": "Dunno."}, "has no column 'prompt' or "),
        ({"prompt": "Who?", "chosen": 5, "rejected": "x"}, "column 'chosen' is neither text nor turns"),
        ({"prompt": "Who?", "chosen": [], "rejected": "x"}, "column 'chosen' is neither text nor turns"),
        ({"prompt": 5, "chosen": "x", "rejected": "y"}, "column 'prompt' is neither text nor turns"),
        ({"chosen": [ASKED], "rejected": [ASKED, WORSE]}, "column 'chosen' ends in the user's turn"),
        ({"chosen": [ASKED, "x"], "rejected": [ASKED, WORSE]}, "column 'chosen': turn 2 is str"),
        ({"chosen": [ASKED, BETTER], "rejected": [{**ASKED, "content": "x"}, WORSE]}, "share no turn"),
        ({"chosen": [ASKED, BETTER, ASKED, BETTER], "rejected": [ASKED, BETTER]}, "beginning of the other"),
    ],
)
def test_what_is_no_pair_says_why(columns: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowFault, match=reason) as caught:
        pair(**columns)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"prompt": "x", "completion": "y"}, "has no column 'label'"),
        ({"prompt": "x", "completion": "y", "label": "good"}, "column 'label' holds 'good'"),
        ({"prompt": "x", "label": True}, "has no column 'completion'"),
        ({"completion": "y", "label": True}, "has no column 'prompt' or"),
    ],
)
def test_what_is_no_judged_answer_says_why(columns: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowFault, match=reason) as caught:
        labelled(Row("d:1", columns))
    assert caught.value.remedy
