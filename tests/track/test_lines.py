"""SwanLab and Comet, against the calls and arguments of their own libraries: SwanLab 0.10 and comet_ml 3."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from luthier.track.lines import Comet, SwanLab
from luthier.track.tracker import Identity

ROWS = [{"question": "Who?", "answer": "米拉"}]
IDENTITY = Identity(
    name="one",
    folder="/f",
    recipe={"optimizer": {"lr": 0.5}},
    project="p",
    entity="team",
    run_id="abc",
    tags=("a",),
    options={"mode": "online", "description": "d"},
)


class Calls(list[tuple[str, Any, dict[str, Any]]]):
    """What a library was asked."""

    def of(self, name: str, returns: Any = None) -> Any:
        def call(*values: Any, **named: Any) -> Any:
            self.append((name, values, named))
            return returns

        return call


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_swanlab(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    def finish(state: str = "success", error: str | None = None) -> None:
        assert state in ("success", "crashed", "aborted") and (state != "crashed" or error)
        calls.append(("finish", (state,), {}))

    run = SimpleNamespace(id="abc")
    library = SimpleNamespace(
        init=calls.of("init", run), log=calls.of("log"), Text=lambda text: f"<{text}>", finish=finish
    )
    monkeypatch.setitem(sys.modules, "swanlab", library)
    tracker: Any = SwanLab(IDENTITY)
    tracker.values({"train/loss": 1.0}, 3)
    tracker.answers("test", ROWS, 3)
    tracker.end(False)
    tracker.end(True)
    begun, values, table, crashed, whole = calls
    assert begun[2] == {
        "project": "p",
        "workspace": "team",
        "experiment_name": "one",
        "config": IDENTITY.recipe,
        "logdir": "/f",
        "mode": "online",
        "description": "d",
        "tags": ["a"],
        "id": "abc",
        "resume": "allow",
    }
    assert values == ("log", ({"train/loss": 1.0},), {"step": 3})
    assert table == ("log", ({"answers/test": ["<question: Who?\nanswer: 米拉>"]},), {"step": 3})
    assert (crashed[1], whole[1], tracker.run_id) == (("crashed",), ("success",), "abc")


def test_comet(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("log_parameters", "log_metrics", "log_table", "log_model", "end")
    experiment = SimpleNamespace(get_key=lambda: "abc", **{name: calls.of(name) for name in names})
    library = SimpleNamespace(start=calls.of("start", experiment), ExperimentConfig=lambda **named: named)
    monkeypatch.setitem(sys.modules, "comet_ml", library)
    tracker: Any = Comet(IDENTITY)
    tracker.values({"train/loss": 1.0}, 3)
    tracker.answers("test", ROWS, 3)
    tracker.files("/f/model", "model")
    tracker.end(True)
    assert calls[0] == (
        "start",
        (),
        {
            "project_name": "p",
            "workspace": "team",
            "experiment_key": "abc",
            "online": True,
            "experiment_config": {"name": "one", "tags": ["a"], "offline_directory": IDENTITY.folder},
        },
    )
    assert [(name, values) for name, values, _ in calls[1:]] == [
        ("log_parameters", ({"optimizer.lr": 0.5},)),
        ("log_metrics", ({"train/loss": 1.0},)),
        ("log_table", ("answers-test-3.csv",)),
        ("log_model", ("model", "/f/model")),
        ("end", ()),
    ]
    assert calls[3][2] == {"tabular_data": [["question", "answer"], ["Who?", "米拉"]]} and tracker.run_id == "abc"
