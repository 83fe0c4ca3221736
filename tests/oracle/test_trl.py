"""Losses and runs equal TRL's: on the same numbers, and step by step from the same weights.

TRL's answers are kept beside this; where LUTHIER_ORACLE_TRL names a Python that has TRL, it is asked again.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.trl_jobs import (
    GOLDEN,
    RUNS,
    STEPS,
    digest,
    ids_of,
    loss_jobs,
    loss_of,
    our_losses,
    reading_of,
    write_model,
)
from tests.oracle.write_trl import asked

KEPT: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
REGENERATE = "rows or tokens have changed: ask TRL again (python -m tests.oracle.write_trl)"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def test_the_losses_of_the_same_numbers_are_equal() -> None:
    asked_of_both = loss_jobs()
    kept = [dict(one) for one in KEPT["losses"]]
    answers = [one.pop("answer") for one in kept]
    assert kept == asked_of_both, REGENERATE
    for job, answer in zip(kept, answers, strict=True):
        assert loss_of(job) == pytest.approx(answer, rel=1e-6, abs=1e-6), job


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_thirty_steps_are_equal(name: str, model: Path, tmp_path: Path) -> None:
    kept = KEPT["runs"][name]
    reading, _ = reading_of(name, tmp_path, model)
    ids = ids_of(reading, model, name.partition(" ")[0])
    repeated = ids * (STEPS if name.endswith("packed") else 1)
    assert digest(repeated) == kept["ids"], REGENERATE
    ours = our_losses(reading)
    assert len(ours) == STEPS and ours[-1] != pytest.approx(ours[0], rel=1e-3)
    assert ours == pytest.approx(kept["losses"], abs=1e-4)


def test_the_first_step_of_dpo_costs_ln_2() -> None:
    first = [run["losses"][0] for name, run in KEPT["runs"].items() if name in ("dpo", "dpo lora", "dpo packed")]
    assert first == pytest.approx([math.log(2)] * 3, abs=1e-6)


def test_trl_makes_the_same_ids_of_conversations() -> None:
    """Where its trainer reads conversations as ours does; its others were given our ids."""
    assert [name for name, run in KEPT["runs"].items() if run["same_ids"]] == [
        name for name in RUNS if name.split()[0] not in ("orpo", "simpo", "cpo")
    ]


@pytest.mark.oracle
@pytest.mark.slow
def test_trl_still_answers_so(tmp_path: Path) -> None:
    now = asked(tmp_path)
    assert set(now["runs"]) == set(KEPT["runs"])
    for before, after in zip(KEPT["losses"], now["losses"], strict=True):
        assert after.pop("answer") == pytest.approx(before["answer"], rel=1e-6, abs=1e-6), before
    for name, run in now["runs"].items():
        assert run["losses"] == pytest.approx(KEPT["runs"][name]["losses"], abs=2e-5), name
