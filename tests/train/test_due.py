"""When things recur."""

from __future__ import annotations

import pytest

from luthier.train.due import due


@pytest.mark.parametrize(
    ("every", "delay", "expected"),
    [
        (4, 0, [4, 8, 12, 16, 20]),
        (0.25, 0, [5, 10, 15, 20]),
        (0.1, 0, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
        (0.3, 0, [6, 12, 18]),
        (0.01, 18, [19, 20]),
        ("epoch", 0, [7, 14]),
        ("epoch", 1, [14]),
        ("never", 0, []),
        (4, 8, [12, 16, 20]),
    ],
)
def test_due_steps(every: int | float | str, delay: float, expected: list[int]) -> None:
    check = due(every, total=20, steps_per_epoch=7, delay=delay)
    assert [step for step in range(1, 21) if check(step)] == expected
