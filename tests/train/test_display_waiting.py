"""At its end the loop says what share of its steps' time went by waiting for data."""

from __future__ import annotations

import io

from rich.console import Console

from luthier.train.display import Display
from tests.report.folders import stepped


def test_the_share_of_waiting_is_that_of_the_events() -> None:
    out = io.StringIO()
    display = Display(Console(file=out, width=200))
    display.begin(0, 3)
    for step in (1, 2, 3):
        display.stepped(stepped(step, seconds=2.0, waited=0.01 * step))
    display.end()
    display.end()
    assert out.getvalue().count("steps waited for data 1.00% of their time") == 1


def test_a_loop_without_steps_says_nothing_of_it() -> None:
    out = io.StringIO()
    Display(Console(file=out)).end()
    assert out.getvalue() == ""
