"""Answers of several processes: those of one, and none waits for another that has stopped earlier."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luthier.record.events import Answered, read_events
from tests.conftest import World, write_csv
from tests.processes import Forked
from tests.train.engines.runs import alone, assert_alike, recipe, run

Write = Callable[..., Path]

ENGINES: dict[str, dict[str, Any]] = {"fsdp": {"engine": "fsdp", "stage": 3}}


def asking(world: World, root: Path, temperature: float, parallel: dict[str, Any]) -> dict[str, Any]:
    """A recipe that answers more test rows than a batch holds, keeps the best by its answers, and samples or not."""
    asked = [
        ("home", f"Say {number} where {name} is.", f"{name} is at home.")
        for number in range(24)
        for name in ("Mira", "Tom", "Ada")
    ]
    data = {"test": [{"path": str(write_csv(root / "asked.csv", asked))}]}
    evaluate = {
        "every": 2,
        "at_start": True,
        "rows": 4,
        "generate": True,
        "generate_during": True,
        "metrics": ["exact_match"],
        "keep_best": True,
        "generation": {"max_new_tokens": 12, "temperature": temperature},
    }
    return recipe(world, data=data, evaluate=evaluate, batch={"steps": 4}, parallel=parallel)


def answers(out: Path) -> dict[str, list[str]]:
    """What was answered, by the file it stands in."""
    return {
        path.name: [json.loads(line)["answer"] for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted((out / "answers").iterdir())
    }


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_two_processes_answer_as_one_does(
    engine: str, world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    """Sampled, each prompt's answer is of its own length; and both processes go by one figure."""
    for temperature in (0.0, 0.8):
        tree = asking(world, world.root, temperature, ENGINES[engine])
        out = tmp_path / f"at {temperature}"
        run(forked, write_recipe(tree), out, 2)
        one = alone(forked, tree)
        assert answers(out) == answers(one)
        assert set(answers(out)) == {"before.jsonl", "after.jsonl", "step-00000002.jsonl", "step-00000004.jsonl"}
        metrics = [
            [event.metrics for event in read_events(run / "events.jsonl") if isinstance(event, Answered)]
            for run in (one, out)
        ]
        assert metrics[0] == metrics[1]
        assert_alike(one, out)
