"""Text in segments."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.data.example import Piece, Row, RowFault
from luthier.data.formats.input_output import read


def test_segments_stay_as_they_stand() -> None:
    segments = [{"label": False, "text": "<s> Hi\n"}, {"label": True, "text": " Ho</s>"}]
    example = read(Row("d:1", {"segments": segments}))
    assert example.pieces == (Piece("<s> Hi\n", "user"), Piece(" Ho</s>", "assistant", trained=True))
    assert example.plain and example.messages[0].content == "<s> Hi\n Ho</s>" and not example.framed


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, r"has no column 'segments' \(columns: none\)"),
        ({"segments": "x"}, "not a list of segments"),
        ({"segments": []}, "not a list of segments"),
        ({"segments": ["x"]}, "segment 1 has no text"),
        ({"segments": [{"label": True, "text": "x"}, {"label": True}]}, "segment 2 has no text"),
        ({"segments": [{"text": "x"}]}, "segment 1 has the label None"),
        ({"segments": [{"text": "x", "label": 1}]}, "segment 1 has the label 1"),
    ],
)
def test_what_is_no_segment_says_why(columns: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowFault, match=reason) as caught:
        read(Row("d:1", columns))
    assert caught.value.remedy
