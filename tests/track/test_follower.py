"""Trackers are told everything, in order, and can neither stop nor slow a run."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from luthier.recipe import Recipe
from luthier.record.checkpoints import checkpoints, retire
from luthier.record.events import Answered, Evaluated, Event, Finished, Saved, Stepped, Stopped
from luthier.track import tracker as room
from luthier.track.tracker import Follower, Identity, Spreads, Values, Wants, values_of
from luthier.track.tracking import Tracking


def stepped(step: int, loss: float = 1.0, **more: Any) -> Stepped:
    figures = {"epoch": 0.5, "lr": 0.1, "gradient_norm": 2.0, "tokens": 30, "targets": 10, "seconds": 0.5}
    return Stepped(step=step, loss=loss, waited=0.0, memory=7, **(figures | more))


class Listening:
    """A tracker that keeps what it hears."""

    uses = ("project", "options.known")
    run_id: str | None = None

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def values(self, values: Values, step: int) -> None:
        self.heard.append((step, values))

    def answers(self, name: str, rows: Sequence[dict[str, Any]], step: int) -> None:
        self.heard.append((name, list(rows), step))

    def spreads(self, spreads: Spreads, step: int) -> None:
        self.heard.append((spreads, step))

    def files(self, folder: str, name: str) -> None:
        self.heard.append((folder, name))

    def end(self, whole: bool) -> None:
        self.heard.append(whole)


class Failing(Listening):
    """A tracker whose server is gone at the third value."""

    def values(self, values: Values, step: int) -> None:
        super().values(values, step)
        if len(self.heard) == 3:
            raise ConnectionError("the server\nis gone")


class Hanging(Listening):
    """A tracker that waits for ever."""

    def values(self, values: Values, step: int) -> None:
        threading.Event().wait(60)


def follow(make: Callable[[], Listening], wants: Wants, events: Sequence[Event], patience: float = 10) -> list[str]:
    warned: list[str] = []
    follower = Follower("listener", make, warned.append, wants)
    for event in events:
        follower.tell(event)
    follower.close(patience)
    return warned


def test_everything_is_told_in_order(tmp_path: Path) -> None:
    listening = Listening()
    answered = Answered(
        step=2, when="after", rows=1, metrics={"exact_match": 0.5}, file="x", seconds=1, sample=[{"question": "q"}]
    )
    ended = Finished(step=2, reason="steps", seconds=1, result="model")
    events = [stepped(1), Evaluated(step=1, loss=3, targets=1, seconds=1, metrics={"accuracy": 1}), answered, ended]
    assert follow(lambda: listening, Wants(tmp_path), events) == []
    first, evaluated, figures, table, whole = listening.heard
    assert first[0] == 1 and first[1]["train/loss"] == 1.0 and first[1]["train/tokens_per_second"] == 60.0
    assert evaluated == (1, {"eval/loss": 3, "eval/accuracy": 1})
    assert figures == (2, {"test/exact_match": 0.5}) and table == ("test", [{"question": "q"}], 2)
    assert whole is True


def test_a_run_that_did_not_end_is_told_so(tmp_path: Path) -> None:
    listening = Listening()
    follow(lambda: listening, Wants(tmp_path), [stepped(1), Stopped(step=1, reason="SIGTERM")])
    assert listening.heard[-1] is False


@pytest.mark.parametrize(
    ("files", "named"), [(None, []), ("end", ["model"]), ("checkpoint", ["checkpoint-4", "model"])]
)
def test_weights_go_where_they_are_wanted(tmp_path: Path, files: str | None, named: list[str]) -> None:
    for name in ("checkpoints/4", "model"):
        (tmp_path / name).mkdir(parents=True)
    saved = [Saved(step=step, path=f"checkpoints/{step}", bytes=1, seconds=1) for step in (2, 4)]
    saved.append(Saved(step=4, path="model", bytes=1, seconds=1))
    listening = Listening()
    follow(
        lambda: listening,
        Wants(tmp_path, files=files),
        [*saved, Finished(step=4, reason="", seconds=1, result="model")],
    )
    assert [name for _, name in listening.heard[:-1]] == named


def test_a_tracker_that_fails_is_heard_of_once(tmp_path: Path) -> None:
    failing = Failing()
    warned = follow(lambda: failing, Wants(tmp_path), [stepped(step) for step in range(1, 50)])
    assert len(failing.heard) == 3
    assert warned == ["listener failed and is told no more (ConnectionError: the server)"]


def test_a_tracker_that_does_not_start_is_heard_of_once(tmp_path: Path) -> None:
    def make() -> Listening:
        raise PermissionError("no key")

    assert follow(make, Wants(tmp_path), [stepped(1), stepped(2)]) == [
        "listener failed and is told no more (PermissionError: no key)"
    ]


def test_a_tracker_that_hangs_holds_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WAITING", 8)
    begun = time.monotonic()
    warned = follow(Hanging, Wants(tmp_path), [stepped(step) for step in range(200)], patience=0.2)
    assert time.monotonic() - begun < 5
    assert len(warned) == 1 and "did not finish" in warned[0]


def test_figures_that_are_not_finite_are_left_out_when_asked() -> None:
    event = stepped(1, loss=math.nan, gradient_norm=math.inf)
    assert math.isnan(values_of(event)["train/loss"])
    hidden = values_of(event, hide_nonfinite=True)
    assert "train/loss" not in hidden and "train/grad_norm" not in hidden and hidden["train/learning_rate"] == 0.1
    assert values_of(stepped(1, metrics={"margin": 2.0}))["train/margin"] == 2.0
    assert values_of(Stopped(step=1, reason="")) == {}


def test_answers_to_test_and_evaluation_rows_are_two_curves_and_two_tables(tmp_path: Path) -> None:
    listening = Listening()
    both = [
        Answered(step=2, when=when, rows=1, metrics={"m": value}, file="x", seconds=1, rows_of=of, sample=[{"a": of}])
        for when, of, value in (("at step 2 of", "evaluation", 0.1), ("after", "test", 0.2))
    ]
    follow(lambda: listening, Wants(tmp_path), both)
    assert listening.heard == [
        (2, {"eval/m": 0.1}),
        ("evaluation", [{"a": "evaluation"}], 2),
        (2, {"test/m": 0.2}),
        ("test", [{"a": "test"}], 2),
        False,
    ]


def test_a_checkpoint_is_not_deleted_while_a_tracker_reads_it(tmp_path: Path) -> None:
    for step in (1, 2):
        (tmp_path / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    reading, go_on = threading.Event(), threading.Event()

    class Slow(Listening):
        def files(self, folder: str, name: str) -> None:
            reading.set()
            go_on.wait(30)
            super().files(str(Path(folder).is_dir()), name)

    slow = Slow()
    follower = Follower("slow", lambda: slow, lambda _: None, Wants(tmp_path, files="checkpoint"))
    follower.tell(Saved(step=1, path="checkpoints/step-00000001", bytes=1, seconds=1))
    assert reading.wait(30)
    retire(tmp_path / "checkpoints", 1)
    assert len(checkpoints(tmp_path / "checkpoints")) == 2
    go_on.set()
    follower.close()
    retire(tmp_path / "checkpoints", 1)
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-00000002"]
    assert slow.heard == [("True", "checkpoint-1"), False]


class Kept(Listening):
    """A tracker whose run has a name to be found by; what each was begun with is kept."""

    begun: ClassVar[list[tuple[str | None, int]]] = []

    def __init__(self, identity: Identity) -> None:
        super().__init__()
        self.run_id = identity.run_id or f"made-{len(self.begun)}"
        self.begun.append((identity.run_id, identity.step))


def test_a_resumed_run_goes_on_with_the_tracker_s_own(tmp_path: Path) -> None:
    name = f"{__name__}:Kept"
    track = {"to": (name,), "project": "p", "tags": ("a",), "options": {"known": 1, "odd": 2}}
    recipe = Recipe.model_validate({"track": track})
    warned: list[str] = []
    for step in (0, 4, 0):
        with Tracking(tmp_path / "events.jsonl", recipe, {}, warned.append, step) as log:
            log.write(stepped(step + 1))
    assert Kept.begun == [(None, 0), ("made-0", 4), (None, 0)]
    assert json.loads((tmp_path / "trackers.json").read_text()) == {name: "made-2"}
    assert warned == [f"{name} has no place for track.tags, track.options.odd"] * 3
