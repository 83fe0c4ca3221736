"""Tokenised documents come back from disk as they were, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.origins import Origins
from luthier.data.store import ARRAYS, Batch, TokenStore, Writer, collect, load, save
from luthier.data.tokens import Tokens
from luthier.errors import DataError

DOCUMENTS = [
    Tokens(np.array([5, 6, 7], np.int32), np.array([False, True, True]), "a.jsonl:1"),
    Tokens(np.array([2**31 - 1], np.int32), np.array([True]), "ü/longer name.jsonl:12345"),
    Tokens(np.array([8, 9], np.int32), np.array([True, True]), "b:2"),
]
FILES = [*(f"{name}.npy" for name in ARRAYS), "names.json", "summary.json"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(collect(DOCUMENTS, {"rows": 3, "note": "ü"}), tmp_path)
    return tmp_path


def same(one: Tokens, other: Tokens) -> bool:
    return (one.ids.tolist(), one.trained.tolist(), one.origin) == (
        other.ids.tolist(),
        other.trained.tolist(),
        other.origin,
    )


def test_a_stored_document_is_the_same(folder: Path) -> None:
    store = load(folder)
    assert len(store) == 3
    assert all(same(one, other) for one, other in zip(store, DOCUMENTS, strict=True))
    assert store.summary == {"rows": 3, "note": "ü"} and store.key == folder.name


def test_documents_can_be_had_one_by_one(folder: Path) -> None:
    store = load(folder)
    assert same(store[1], DOCUMENTS[1]) and same(store[2], DOCUMENTS[2])


def test_arrays_are_mapped_and_not_read(folder: Path) -> None:
    store = load(folder)
    assert isinstance(store.ids, np.memmap) and isinstance(store.trained, np.memmap)
    assert store.ids.dtype == np.int32 and store.trained.dtype == np.bool_


def test_lengths_and_targets_are_those_of_the_documents(folder: Path) -> None:
    store = load(folder)
    assert store.lengths.tolist() == [3, 1, 2]
    assert store.targets.tolist() == [2, 0, 1]


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_targets_agree_with_each_document(masks: list[list[bool]]) -> None:
    store = collect([Tokens(np.zeros(len(m), np.int32), np.array(m), "d") for m in masks], {})
    assert store.targets.tolist() == [tokens.targets for tokens in store]
    assert store.lengths.tolist() == [len(mask) for mask in masks]


def test_origins_come_back_however_a_batch_holds_them(tmp_path: Path) -> None:
    first = ["a.jsonl:1", "a.jsonl:7", "all name", "b:5:3", "b:#2"]
    second = Origins.of(["c:1", "b:5:9", "all name", "a.jsonl:2", "b:5:4"])
    (tmp_path / "key").mkdir()
    with Writer(tmp_path / "key") as writer:
        for origins in (first, second):
            ids = np.arange(5, dtype=np.int32)
            writer.add(Batch(ids, ids > 0, np.ones(5, np.int64), origins, [0] * 5))
        writer.close({})
    assert list(load(tmp_path / "key").origins) == [*first, *second]


def test_a_store_of_nothing_is_empty() -> None:
    store: TokenStore = collect([], {})
    assert len(store) == 0 and list(store) == [] and store.lengths.tolist() == []


def damaged(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(folder)
    fault = caught.value.faults[0]
    assert fault.place == str(folder) and fault.remedy == "delete this folder"
    return fault.reason


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", ["missing", "empty", "cut"])
def test_a_damaged_store_is_refused_with_its_folder(folder: Path, name: str, harm: str) -> None:
    file = folder / name
    if harm == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: 0 if harm == "empty" else -1])
    assert "the prepared data are damaged" in damaged(folder)


@pytest.mark.parametrize("name", list(ARRAYS))
def test_files_of_two_stores_do_not_go_together(folder: Path, name: str) -> None:
    other = folder / "other"
    other.mkdir()
    save(collect([*DOCUMENTS, DOCUMENTS[0]], {}), other)
    (other / f"{name}.npy").replace(folder / f"{name}.npy")
    assert "not of one length" in damaged(folder)


def test_no_pickle_is_read(folder: Path) -> None:
    np.save(folder / "origins.npy", np.array(["a", None, {}], dtype=object), allow_pickle=True)
    assert "damaged" in damaged(folder)


def test_the_summary_is_written_last(tmp_path: Path) -> None:
    (tmp_path / "origins.npy").mkdir()
    with pytest.raises(OSError, match="origins"):
        save(collect(DOCUMENTS, {}), tmp_path)
    assert not (tmp_path / "summary.json").exists()


def test_the_summary_is_plain_json(folder: Path) -> None:
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8")) == {"rows": 3, "note": "ü"}


def test_the_source_of_a_document_is_told_by_how_many_each_source_has() -> None:
    assert collect(DOCUMENTS, {"documents_by_source": [1, 0, 2]}).sources.tolist() == [0, 2, 2]
    assert collect(DOCUMENTS, {}).sources.tolist() == [0, 0, 0]
