"""Metrics are never soft."""

from __future__ import annotations

import pytest

from luthier.evaluate.metrics import exact_match


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Mira lives here.", 1.0),
        ("  Mira lives here.\n", 1.0),
        ("Mira lives here", 0.0),
        ("mira lives here.", 0.0),
        ("", 0.0),
    ],
)
def test_exact_match_is_to_the_letter(answer: str, right: float) -> None:
    assert exact_match(answer, "Mira lives here.") == right
