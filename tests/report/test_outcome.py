"""What happened stands beside what was planned, each with its share of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.record.events import Event, Finished, Saved
from luthier.report import write_report
from tests.report.folders import make, prepared, started, stepped
from tests.report.reader import Page

MB, GB = 2**20, 2**30
PLAN: dict[str, Any] = {
    "steps": 8,
    "steps_per_epoch": 4,
    "epochs": 2.0,
    "tokens": 150,
    "targets": 40,
    "documents": 10,
    "packs": 4,
    "time": 16.0,
    "memory": {"weights": 3 * GB, "optimizer": GB},
    "disk": {"checkpoint": 100 * MB, "result": 200 * MB},
    "parameters": {"total": 1_000, "trainable": 250},
}


def stored(step: int, path: str, megabytes: int) -> Saved:
    return Saved(step=step, path=path, bytes=megabytes * MB, seconds=1.0)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    steps = [stepped(n, tokens=100, targets=40, seconds=2.0, waited=0.5, memory=n * GB // 4) for n in range(1, 5)]
    events: list[Event] = [
        started(steps=8),
        prepared(documents=9, packs=5),
        *steps[:2],
        stored(2, "checkpoints/step-2", 50),
        *steps[2:],
        stored(4, "checkpoints/step-4", 30),
        stored(4, "model", 80),
        Finished(step=4, reason="early stopping", seconds=10.0, result="model"),
    ]
    folder = make(Path(tmp_path_factory.mktemp("outcome")) / "run", events, plan=PLAN)
    whole = Page(write_report(folder).read_text(encoding="utf-8")).text()
    return whole.partition("Of the plan ")[2]


@pytest.mark.parametrize(
    "row",
    [
        "Steps 8 4 50%",
        "Tokens seen 300 400 133%",
        "Trained tokens seen 80 160 200%",
        "Time in steps 16.0s 8.0s 50%",
        "of it waiting for data 2.0s (25%)",
        "Memory, highest 4.00 GiB 1.00 GiB 25%",
        "Documents 10 9 90%",
        "Packs 4 5 125%",
        "Disk, one checkpoint 100.00 MiB 50.00 MiB 50%",
        "Disk, the result 200.00 MiB 80.00 MiB 40%",
        "Parameters 1,000, of which 250 train (25%)",
    ],
)
def test_a_figure_stands_beside_its_plan(row: str, text: str) -> None:
    assert f" {row} " in f" {text} "


def test_the_largest_part_of_the_planned_memory_comes_first(text: str) -> None:
    assert "Planned memory by part weights 3.00 GiB optimizer 1.00 GiB" in text
