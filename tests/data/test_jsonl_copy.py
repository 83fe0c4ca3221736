"""A table of questions written out as JSON lines, and read from there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from luthier.data.corpus import examples
from luthier.data.jsonl_copy import with_copies
from luthier.errors import DataError
from luthier.recipe import Recipe
from luthier.recipe.validate import build
from tests.conftest import write_csv

ROWS = [("home", 'Where,\n"quoted"?', "Here."), ("", "谁?", "我。")]


def asking(path: Path, **more: object) -> Recipe:
    source = {"path": str(path), "format": "human_assistant", "as_jsonl": True, **more}
    return build({"model": {"path": "m"}, "data": {"train": [source]}}, str)


def table(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return write_csv(folder / "q.csv", ROWS)


def test_each_row_becomes_one_line_beside_the_folder_of_tables(tmp_path: Path) -> None:
    (source,) = with_copies(asking(table(tmp_path / "csv"))).data.train
    assert source.path == str(tmp_path / "jsonl" / "q.jsonl") and not source.as_jsonl
    lines = [json.loads(line) for line in Path(source.path).read_text(encoding="utf-8").splitlines()]
    assert lines == [{"category": c, "conversation": [{"human": h, "assistant": a}]} for c, h, a in ROWS]
    assert os.listdir(tmp_path / "jsonl") == ["q.jsonl"]


def test_the_copy_reads_as_the_table_does(tmp_path: Path) -> None:
    asked = asking(table(tmp_path / "csv"))
    turns = [
        [[(turn.role, turn.content) for turn in example.messages] for example in examples(asked, [source])]
        for source in (asked.data.train[0], with_copies(asked).data.train[0])
    ]
    assert turns[0] == turns[1] and len(turns[0]) == 2


def test_it_follows_the_table(tmp_path: Path) -> None:
    path = table(tmp_path / "csv")
    with_copies(asking(path))
    write_csv(path, ROWS[:1])
    (source,) = with_copies(asking(path)).data.train
    assert len(Path(source.path).read_text(encoding="utf-8").splitlines()) == 1


def test_what_is_no_table_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"human": "a", "assistant": "b"}\n')
    asked = asking(path)
    assert with_copies(asked) == asked


def test_a_table_without_the_columns_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("category,question,answer\na,b,c\n")
    with pytest.raises(DataError, match="has no column human and no column assistant"):
        with_copies(asking(tmp_path / "q.csv"))
    assert os.listdir(tmp_path / "jsonl") == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = table(tmp_path / "csv")
    (tmp_path / "jsonl").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written") as error:
        with_copies(asking(path))
    assert "as_jsonl=false" in error.value.faults[0].remedy
