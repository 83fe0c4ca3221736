from __future__ import annotations

from pathlib import Path

import pytest

from luthier.errors import RunError
from luthier.record.folder import RunFolder
from luthier.report.source import read_record
from tests.report.folders import ACCOUNTS, PLAN, finished_run, make, started


def fault_of(folder: RunFolder) -> tuple[str, str, str]:
    with pytest.raises(RunError) as caught:
        read_record(folder)
    (fault,) = caught.value.faults
    return fault.place, fault.reason, fault.remedy


def test_a_whole_folder(tmp_path: Path) -> None:
    record = read_record(make(tmp_path / "one", finished_run(3), plan=PLAN, accounts=ACCOUNTS))
    assert record.name == "one"
    assert record.setting("adapter.rank") == 16
    assert record.setting("adapter.rank.deeper") is None
    assert record.plan == PLAN
    assert len(record.reading["accounts"]) == len(ACCOUNTS)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    place, reason, remedy = fault_of(RunFolder(tmp_path / "none"))
    assert (place, reason) == (str(tmp_path / "none"), "is not there")
    assert "luthier train" in remedy


def test_a_file_and_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert fault_of(RunFolder(tmp_path / "file"))[1] == "is not a folder"
    assert "events.jsonl" in fault_of(RunFolder(tmp_path))[1]


def test_a_run_that_has_not_started(tmp_path: Path) -> None:
    assert "has not started" in fault_of(make(tmp_path, []))[1]


@pytest.mark.parametrize(
    "line", ['{"event": "dance", "step": 1}', '{"event": "step"}', "[1]", "no json", '{"step": 1}']
)
def test_a_damaged_event_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    folder = make(tmp_path, [started()])
    with folder.events.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    place, _, remedy = fault_of(folder)
    assert place == f"{folder.events}:2"
    assert remedy


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    folder = make(tmp_path, [started()])
    with folder.events.open("a", encoding="utf-8") as file:
        file.write('{"event": "st')
    assert len(read_record(folder).events) == 1


@pytest.mark.parametrize(("name", "text"), [("recipe.yaml", "a: [1"), ("plan.json", "{"), ("reading.json", "{'a'}")])
def test_a_damaged_record_is_named(tmp_path: Path, name: str, text: str) -> None:
    folder = make(tmp_path, [started()])
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert fault_of(folder)[0] == str(tmp_path / name)


def test_a_record_that_is_not_text(tmp_path: Path) -> None:
    folder = make(tmp_path, [started()])
    folder.plan.write_bytes(b"\xff\xfe")
    assert fault_of(folder)[1] == "cannot be read as UTF-8"


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/somewhere/one/checkpoints/step-4", "checkpoints/step-4"),
        ("one/model", "model"),
        ("runs/one/one/x", "x"),
        ("model", "model"),
        ("/elsewhere/two/model", "/elsewhere/two/model"),
    ],
)
def test_paths_are_shown_from_the_folder(tmp_path: Path, path: str, inside: str) -> None:
    assert read_record(make(tmp_path / "one", [started()])).inside(path) == inside
