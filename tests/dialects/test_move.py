"""``--model`` and ``--data``: the same recipe with its model and rows elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.dialects.move import data_words, model_words
from luthier.errors import RecipeError


def moved(words: list[str]) -> dict[str, list[dict[str, Any]]]:
    return {key: json.loads(value) for key, _, value in (word.partition("=") for word in words)}


def files(folder: Path, *names: str) -> str:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return str(folder)


def tree(**parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"data": parts}


def test_a_model_takes_its_own_tokenizer_and_revision_with_it(tmp_path: Path) -> None:
    named = {"model": {"path": "a", "revision": "b"}, "tokenizer": {"path": "c"}}
    assert model_words(str(tmp_path), named) == [f'model.path="{tmp_path}"', "model.revision=null"]
    files(tmp_path, "tokenizer.json")
    assert model_words(str(tmp_path), named)[-1] == "tokenizer.path=null"
    assert model_words("x", {"model": None}) == ['model.path="x"']


def test_a_file_holds_all_rows(tmp_path: Path) -> None:
    path = files(tmp_path, "r.jsonl") + "/r.jsonl"
    given = tree(train=[{"path": "hub/one", "format": "alpaca", "split": "x", "name": "y"}, {"path": "hub/two"}])
    assert moved(data_words(path, given)) == {"data.train": [{"format": "alpaca", "path": path}]}
    assert moved(data_words(path, {})) == {"data.train": [{"path": path}]}
    both = moved(data_words(path, tree(train=[{"path": "a"}], test=[{"path": "b", "format": "text"}])))
    assert both == {"data.train": [{"path": path}], "data.test": [{"format": "text", "path": path}]}


def test_a_folder_is_searched_for_the_end_of_each_path(tmp_path: Path) -> None:
    folder = files(tmp_path, "csv/q.csv", "dev.json")
    found = moved(data_words(folder, tree(train=[{"path": "rows/csv/q.csv"}], evaluate=[{"path": "/x/dev.json"}])))
    assert found == {"data.train": [{"path": f"{folder}/csv/q.csv"}], "data.evaluate": [{"path": f"{folder}/dev.json"}]}


def test_splits_of_a_hub_s_data_set_are_found_by_name(tmp_path: Path) -> None:
    folder = files(tmp_path, "train.jsonl", "test.jsonl")
    given = tree(train=[{"path": "o/n", "split": "train"}], evaluate=[{"path": "o/n", "split": "test"}])
    found = moved(data_words(folder, given))
    assert found == {
        "data.train": [{"path": f"{folder}/train.jsonl"}],
        "data.evaluate": [{"path": f"{folder}/test.jsonl"}],
    }
    files(tmp_path, "n/test.parquet")
    assert moved(data_words(folder, given))["data.evaluate"] == [{"path": f"{folder}/n/test.parquet"}]


def test_a_folder_without_their_names_is_all_the_rows_to_train_on(tmp_path: Path) -> None:
    folder = files(tmp_path, "part-1.jsonl", "part-2.jsonl")
    assert moved(data_words(folder, tree(train=[{"path": "o/n"}]))) == {"data.train": [{"path": folder}]}


def test_what_is_missing_is_told_with_the_names_looked_for(tmp_path: Path) -> None:
    folder = files(tmp_path, "train.json")
    with pytest.raises(RecipeError) as error:
        data_words(folder, tree(train=[{"path": "train.json"}], evaluate=[{"path": "a/dev.json"}]))
    (fault,) = error.value.faults
    assert fault.reason == "holds no a/dev.json or dev.json" and "a/dev.json" in fault.remedy


def test_a_place_that_is_not_there_is_told() -> None:
    with pytest.raises(RecipeError, match="no such file or folder"):
        data_words("/no/such", tree(train=[]))


def test_names_with_wildcards_are_names(tmp_path: Path) -> None:
    folder = files(tmp_path, "a[1].json", "a1.json")
    assert moved(data_words(folder, tree(train=[{"path": "x/a[1]"}]))) == {
        "data.train": [{"path": f"{folder}/a[1].json"}]
    }
