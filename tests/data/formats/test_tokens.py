"""Rows that were tokenised elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.data.example import Ready, Row, RowFault
from luthier.data.formats.tokens import read


def ready(**columns: Any) -> Ready | None:
    return read(Row("d:1", columns)).ready


def test_labels_say_what_is_learned() -> None:
    found = ready(input_ids=[5, 6, 7], attention_mask=[1, 1, 1], labels=[-100, 6, 7])
    assert found == Ready((5, 6, 7), (False, True, True))


def test_without_labels_all_is_learned() -> None:
    assert ready(input_ids=[5, 6]) == Ready((5, 6), (True, True))


def test_padding_is_left_out_on_either_side() -> None:
    found = ready(input_ids=[0, 5, 6, 0], attention_mask=[0, 1, 1, 0], labels=[-100, -100, 6, -100])
    assert found == Ready((5, 6), (False, True))


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, "has no column 'input_ids'"),
        ({"input_ids": "5 6"}, "column 'input_ids' is not a list of whole numbers"),
        ({"input_ids": []}, "column 'input_ids' is not a list of whole numbers"),
        ({"input_ids": [5.0]}, "column 'input_ids' is not a list of whole numbers"),
        ({"input_ids": [True]}, "column 'input_ids' is not a list of whole numbers"),
        ({"input_ids": [-1]}, "column 'input_ids' holds the negative id -1"),
        ({"input_ids": [5, 6], "labels": [5]}, "has 2 input_ids and 1 labels"),
        ({"input_ids": [5, 6], "attention_mask": [1]}, "has 2 input_ids and 1 attention_mask"),
        ({"input_ids": [5, 6], "labels": [6, -100]}, "label 1 is 6, and its id 5"),
        ({"input_ids": [5, 6, 7], "attention_mask": [1, 0, 1]}, "attention_mask has a gap"),
        ({"input_ids": [5, 6], "attention_mask": [0, 0]}, "no id that is not padding"),
    ],
)
def test_ids_that_do_not_fit_say_why(columns: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowFault, match=reason) as caught:
        ready(**columns)
    assert caught.value.remedy
