"""Each tracker through its own library: what was told can be read back from its files."""

from __future__ import annotations

import json
import sqlite3
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from luthier.recipe import Recipe
from luthier.record.events import Answered, Finished, Watched, read_events
from luthier.registry import resolve
from luthier.track.mlflow import flat
from luthier.track.tracking import Tracking
from tests.track.test_follower import stepped

pytestmark = pytest.mark.slow


def told(folder: Path, tracker: str, **track: Any) -> list[str]:
    """Two steps, a look at a gradient, an answer and the end, told to one tracker."""
    warned: list[str] = []
    recipe = Recipe.model_validate({"track": {"to": (tracker,), "project": "tests", "name": "one", **track}})
    with Tracking(folder / "events.jsonl", recipe, {"optimizer": {"lr": 0.5}}, warned.append) as log:
        log.write(stepped(1, loss=2.0))
        log.write(Watched(step=2, spreads={"gradients/w": [[1, 2], [0.0, 0.5, 1.0]]}))
        log.write(stepped(2, loss=1.5))
        log.write(
            Answered(
                step=2,
                when="after",
                rows=1,
                metrics={},
                file="",
                seconds=0,
                sample=[{"question": "Who?", "answer": "Mira"}],
            )
        )
        log.write(Finished(step=2, reason="steps", seconds=1, result="model"))
    kinds = [event.kind for event in read_events(folder / "events.jsonl")]
    assert [kind for kind in kinds if kind != "warned"] == ["step", "watched", "step", "answered", "finished"]
    assert kinds.count("warned") == len(warned)
    return warned


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert told(tmp_path, "tensorboard") == ["tensorboard has no place for track.project, track.name"]
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(one.step, one.value) for one in read.Scalars("train/loss")] == [(1, 2.0), (2, 1.5)]
    text = read.Tensors("answers/test/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "question: Who?" in text and "answer: Mira" in text


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert told(tmp_path, "wandb", run_id="abc123", tags=("a",)) == []
    (kept,) = (tmp_path / "wandb").glob("offline-run-*-abc123/run-abc123.wandb")
    until = time.monotonic() + 60
    while b"answers/test" not in (data := kept.read_bytes()) and time.monotonic() < until:
        time.sleep(0.1)  # W&B's own process writes it, and may be behind on a busy machine
    assert b"train/loss" in data and b"tests" in data and b"answers/test" in data
    assert b"gradients/w" in data


@pytest.mark.filterwarnings("default")
def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    assert told(tmp_path, "trackio") == []
    (kept,) = (tmp_path / "trackio").glob("tests.db")
    with sqlite3.connect(kept) as database:
        rows = database.execute("select step, metrics from metrics order by id").fetchall()
    assert [(step, json.loads(metrics).get("train/loss")) for step, metrics in rows][:2] == [(1, 2.0), (2, 1.5)]


@pytest.mark.filterwarnings("default")
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert told(tmp_path, "mlflow") == []
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        rows = database.execute("select step, value from metrics where key = 'train/loss' order by step").fetchall()
        assert rows == [(1, 2.0), (2, 1.5)]
        assert database.execute("select key, value from params").fetchall() == [("optimizer.lr", "0.5")]
        assert database.execute("select status from runs").fetchall() == [("FINISHED",)]
    assert any("Mira" in path.read_text() for path in (tmp_path / "mlartifacts").rglob("answers-*.json"))
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.filterwarnings("default")
def test_swanlab_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("swanlab")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert told(tmp_path, "swanlab", options={"mode": "offline"}) == []
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "events.jsonl"]
    assert any(b"train/loss" in data for data in kept) and any(b"Mira" in data for data in kept)


@pytest.mark.filterwarnings("default")
def test_comet_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("comet_ml")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COMET_API_KEY", "kept-for-later-uploads")
    assert told(tmp_path, "comet", options={"online": False}) == []
    (archive,) = tmp_path.glob("*.zip")
    with zipfile.ZipFile(archive) as file:
        messages = file.read("messages.json").decode()
        assert "Mira" in "".join(file.read(name).decode("utf-8", "replace") for name in file.namelist())
    metrics = [json.loads(line)["payload"]["metric"] for line in messages.splitlines() if '"train/loss"' in line]
    assert [(one["step"], one["metricValue"]) for one in metrics] == [(1, 2.0), (2, 1.5)]


def test_a_library_that_is_not_there_is_told_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "swanlab", None)
    warned = told(tmp_path, "swanlab")
    assert len(warned) == 1 and "swanlab" in warned[0]


def test_every_name_leads_to_a_tracker() -> None:
    for name in ("comet", "mlflow", "swanlab", "tensorboard", "trackio", "wandb"):
        assert all(hasattr(resolve("trackers", name), verb) for verb in ("values", "answers", "files", "end"))


def test_leaves_have_dotted_names() -> None:
    assert flat({"a": {"b": {"c": 1}}, "d": {}}) == {"a.b.c": 1, "d": {}}
