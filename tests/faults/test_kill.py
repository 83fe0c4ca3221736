"""kill -9 at any moment loses nothing: the same command ends in the very weights of the uninterrupted run."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from luthier.record.checkpoints import checkpoints, damage
from luthier.record.events import Finished, Started, Stepped, effective, read_events
from tests import warm
from tests.conftest import World

pytestmark = pytest.mark.slow

STEPS, KILLS = 60, 10


def trained(recipe: Path, folder: Path) -> None:
    done = warm.run(["train", str(recipe)], cwd=folder)
    assert done.returncode == 0, done.stderr


def tree(world: World, out: Path) -> dict[str, Any]:
    return world.recipe(
        adapter={"kind": "lora", "rank": 4, "dropout": 0.1},
        data={"evaluate": [{"path": str(world.held_out)}]},
        pack={"length": 128},
        batch={"micro": 1, "accumulation": 2, "steps": STEPS},
        evaluate={"every": 7},
        checkpoint={"every": 2, "keep_last": 2},
        output={"dir": str(out)},
    )


def last_step(events: Path) -> int:
    if not events.exists():
        return 0
    return max((event.step for event in read_events(events) if isinstance(event, Stepped)), default=0)


def test_ten_kills_end_in_the_weights_of_the_uninterrupted_run(
    world: World, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    trained(write_recipe(tree(world, whole), "whole.yaml"), tmp_path)
    recipe = write_recipe(tree(world, killed), "killed.yaml")
    chance = random.Random(4)
    deaths = 0
    while deaths < KILLS:
        # The moment is drawn afresh each time: some steps further on, plus up to 20 ms, so that it falls into steps,
        # evaluations and saves alike.
        target = min(STEPS - 2, last_step(killed / "events.jsonl") + chance.randint(0, 8))
        process = warm.Process(["train", str(recipe)], cwd=tmp_path)
        while process.poll() is None and last_step(killed / "events.jsonl") < target:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.02)
        if process.poll() is not None:
            pytest.fail("the run ended before it was killed often enough")
        process.kill()
        deaths += 1
        for path in checkpoints(killed / "checkpoints"):
            assert damage(path) is None
    trained(recipe, tmp_path)

    expected, found = (load_file(folder / "model" / "adapter_model.safetensors") for folder in (whole, killed))
    assert expected.keys() == found.keys()
    assert all(expected[name].equal(found[name]) for name in expected)
    events = list(read_events(killed / "events.jsonl"))
    assert sum(isinstance(event, Started) for event in events) > 1
    steps = [event for event in effective(events) if isinstance(event, Stepped)]
    assert [event.step for event in steps] == list(range(1, STEPS + 1))
    straight = [event.loss for event in read_events(whole / "events.jsonl") if isinstance(event, Stepped)]
    assert [event.loss for event in steps] == straight
    assert isinstance(events[-1], Finished)
