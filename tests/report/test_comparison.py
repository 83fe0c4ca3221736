from __future__ import annotations

import math
from pathlib import Path

import pytest

from luthier.record.folder import RunFolder
from luthier.report.compare_page import build_comparison, write_comparison
from luthier.report.comparison import answers, data_apart, measured, settings_apart, sides
from luthier.report.source import Record, read_record
from tests.report.folders import RECIPE, answered, evaluated, finished_run, make, prepared, started, stepped
from tests.report.reader import Page
from tests.report.test_page import HOSTILE, SEEN, hostile_folder


def short_run(name: Path, *, loss: float, rate: str = "1e-4", key: str = "k", score: float = 0.5) -> RunFolder:
    events = [
        started(steps=2),
        prepared(key=key),
        stepped(1, loss=4.0, seconds=1.0, tokens=100, memory=10),
        evaluated(1, loss / 2),
        stepped(2, loss=loss, seconds=1.0, tokens=300, memory=20),
        evaluated(2, loss),
        answered("after", 2, score, 3),
    ]
    recipe = RECIPE + f"optimizer:\n  lr: {rate}\noutput:\n  dir: {name}\n"
    return make(name, events, recipe=recipe)


@pytest.fixture
def both(tmp_path: Path) -> list[Record]:
    one = short_run(tmp_path / "one", loss=2.0)
    return [read_record(one), read_record(short_run(tmp_path / "two", loss=1.0, rate="2e-4", score=0.75))]


def test_only_settings_that_differ_are_told_and_never_where_the_runs_lie(both: list[Record]) -> None:
    assert settings_apart(sides(both)) == [("optimizer.lr", ("1e-4", "2e-4"))]


def test_a_setting_that_one_run_lacks(tmp_path: Path, both: list[Record]) -> None:
    bare = read_record(make(tmp_path / "bare", [started()], recipe="method: {kind: sft}\n"))
    assert ("optimizer.lr", ("1e-4", "–")) in settings_apart(sides([both[0], bare]))


def test_figures_are_those_of_the_events_and_the_better_one_is_marked(both: list[Record]) -> None:
    found = {one.key: (one.values, one.best) for one in measured(sides(both))}
    assert found["training loss"] == ((2.0, 1.0), None)
    assert found["last evaluation"] == ((2.0, 1.0), 1)
    assert found["best evaluation"] == ((1.0, 0.5), 1)
    assert found["metric exact_match"] == ((0.5, 0.75), 1)
    assert found["speed"] == ((200.0, 200.0), None)
    assert found["memory"] == ((20, 20), None)
    assert found["tokens seen"] == ((400, 400), None)


def test_what_is_no_number_is_never_the_best(tmp_path: Path, both: list[Record]) -> None:
    lost = read_record(short_run(tmp_path / "lost", loss=math.nan))
    found = {one.key: one.best for one in measured(sides([lost, *both]))}
    assert found["last evaluation"] == 2


def test_other_rows_are_said(tmp_path: Path, both: list[Record]) -> None:
    assert data_apart(sides(both)) == []
    other = read_record(short_run(tmp_path / "three", loss=1.0, key="other"))
    assert data_apart(sides([both[0], other])) == ["train"]
    assert "Their rows are not the same (train)" in Page(build_comparison([both[0], other])).text()


def test_runs_of_one_name_are_told_apart(both: list[Record]) -> None:
    assert [one.name for one in sides([both[0], both[0], both[1]])] == ["one (1)", "one (2)", "two"]


def test_answers_stand_row_by_row(both: list[Record]) -> None:
    rows = answers(sides(both))
    assert rows[1] == ("In which month is the lantern fair held?", "In late October.", ("In late October.",) * 2)


def test_the_page_has_a_line_for_every_run(tmp_path: Path, both: list[Record]) -> None:
    page = Page(build_comparison(both))
    told = [one.attributes for one in page.those("path") if "data-v" in one.attributes]
    assert [(one["class"], one["data-v"]) for one in told[:2]] == [("run-0", "4 2"), ("run-1", "4 1")]
    assert "optimizer.lr 1e-4 2e-4" in page.text()
    assert "配方差异" in page.text("zh")
    assert [one.text for one in page.those("h1")] == ["one · two"]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    folder = hostile_folder(tmp_path)
    page = Page(write_comparison([folder, folder], tmp_path / "compare.html").read_text(encoding="utf-8"))
    assert not page.those("img")
    assert len(page.those("script")) == len(page.those("style")) == 1
    assert not any(key.startswith("on") or key == "style" for one in page.elements for key in one.attributes)
    assert any(SEEN in one.text for one in page.those("td"))
    assert HOSTILE not in page.source


def test_runs_that_only_started(tmp_path: Path) -> None:
    bare = [read_record(make(tmp_path / name, [started()], recipe=None)) for name in "ab"]
    assert "No step has been taken yet." in Page(build_comparison(bare)).text()


def test_whole_runs(tmp_path: Path) -> None:
    runs = [read_record(make(tmp_path / name, finished_run(steps))) for name, steps in (("a", 60), ("b", 90))]
    page = Page(build_comparison(runs))
    assert "Steps 60 90" in page.text()
