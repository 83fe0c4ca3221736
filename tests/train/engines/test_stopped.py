"""Two real processes that are stopped or killed where it is hardest to stop: the same command ends the run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from luthier.record.checkpoints import checkpoints, damage
from luthier.record.events import Chosen, Evaluated, Stepped, read_events
from luthier.train import best, measure
from tests.conftest import World
from tests.processes import Forked
from tests.train.engines.children import tampered
from tests.train.engines.runs import ADAPTED, figures, identical, recipe, run

Write = Callable[..., Path]
pytestmark = pytest.mark.slow


def signalled(number: int, call: int, rank: int) -> None:
    """Let process 1 have a signal before one of its batches of evaluation rows, of which it has three a time."""
    real, calls = measure.Measure._heeding, 0

    def heeding(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and rank == 1:
            os.kill(os.getpid(), number)
        return real(*given)

    measure.Measure._heeding = heeding  # type: ignore[method-assign]


def test_a_signal_to_one_process_during_an_evaluation_stops_both_and_nothing_is_lost(
    parallel: dict[str, Any], world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    sections = {"evaluate": {"at_start": False}, "checkpoint": {"every": 6}, **ADAPTED}
    file = write_recipe(recipe(world, parallel=parallel, **sections))
    run(forked, file, tmp_path / "whole", 2)
    out = tmp_path / "stopped"
    words = ["train", str(file), f"output.dir={out}"]
    codes = tampered(words, tmp_path, partial(signalled, signal.SIGTERM, 5))
    said = [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)]
    assert codes == [128 + signal.SIGTERM] * 2, said
    assert "stopped by SIGTERM" in said[0] and "Traceback" not in "".join(said)
    assert [path.name for path in checkpoints(out / "checkpoints")] == ["step-00000004"]
    assert all(damage(path) is None for path in checkpoints(out / "checkpoints"))
    events = list(read_events(out / "events.jsonl"))
    assert [one.step for one in events if isinstance(one, Evaluated)] == [2]
    run(forked, file, out, 2)
    assert identical(tmp_path / "whole", out)
    assert figures(out) == figures(tmp_path / "whole")


def killed(when: str, rank: int) -> None:
    """Let process 1 be killed right before or after it has been given the best weights again."""
    real = best.put_back

    def put_back(*given: Any) -> Any:
        if rank == 1 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = real(*given)
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    best.put_back = put_back


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_killed_as_the_best_weights_are_put_back_costs_nothing(
    when: str, parallel: dict[str, Any], world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    """No later evaluation is better by enough, so that the first one's weights are the result."""
    evaluate = {"at_start": False, "keep_best": True, "threshold": 100.0}
    checkpoint = {"every": 4, "keep_last": 1}
    file = write_recipe(recipe(world, parallel=parallel, evaluate=evaluate, checkpoint=checkpoint))
    run(forked, file, tmp_path / "whole", 2)
    out = tmp_path / "killed"
    codes = tampered(["train", str(file), f"output.dir={out}"], tmp_path, partial(killed, when))
    said = (tmp_path / "0.txt").read_text()
    assert codes[1] == -signal.SIGKILL and "Traceback" not in said
    # Where every process has whole weights, nothing is exchanged any more, and the first one ends the run alone.
    alone = parallel["engine"] == "ddp" or parallel["stage"] < 3
    assert codes[0] == 2 or (alone and codes[0] == 0), said
    assert (out / "model").exists() == (codes[0] == 0)
    assert codes[0] == 0 or "rank 1 died or hangs" in said
    kept = [path.name for path in checkpoints(out / "checkpoints")]
    assert kept == ["step-00000008", "step-00000002"]
    if codes[0] != 0:
        run(forked, file, out, 2)
    assert identical(tmp_path / "whole", out)
    events = list(read_events(out / "events.jsonl"))
    assert {(one.step, one.best_step) for one in events if isinstance(one, Chosen)} == {(8, 2)}
    assert sum(isinstance(one, Stepped) for one in events) == 8
