"""A split with a slice means the rows that the datasets library takes for it, in files as on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from luthier.data.pipeline import prepare
from luthier.data.source import rows_of, rows_taken
from luthier.data.split import stretches_of
from luthier.errors import DataError
from luthier.plan.volume import estimate
from tests.conftest import World, write_jsonl
from tests.data.made import recipe_of, source_of

SPLITS = (
    *("train", "train[:3]", "train[3:]", "train[-4:]", "train[:-4]", "train[2:5]", "train[5:2]", "train[:1000]"),
    *("train[:10%]", "train[10%:25%]", "train[-5%:]", "train[:-35%]", "train[50%:]", "train[33%:66%]", "train[1:]"),
    *("train[:15%]+train[90%:]", "train[:7%](pct1_dropremainder)", "train[0%:100%]", "train[:0]"),
)


@pytest.mark.parametrize("count", [100, 101, 150, 999])
def test_stretches_are_those_of_the_library(count: int) -> None:
    for split in SPLITS:
        theirs = datasets.ReadInstruction.from_spec(split).to_absolute({"train": count})
        ours = [stretch.bounds(count) for stretch in stretches_of(split, "d")]
        assert [stop - start for start, stop in ours] == [max(0, one.to - one.from_) for one in theirs], split
        assert [ends for ends in ours if ends[0] < ends[1]] == [
            (one.from_, one.to) for one in theirs if one.from_ < one.to
        ]


@pytest.mark.parametrize("split", ["train[", "train[1]", "train[:1.5%]", "train[:120%]", "", "a b"])
def test_a_split_that_names_no_rows_is_refused(tmp_path: Path, split: str) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"n": 1}])
    with pytest.raises(DataError) as caught:
        list(rows_of(source_of(path, split=split)))
    assert caught.value.faults[0].place == f"{path}: split" and caught.value.faults[0].remedy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,200 rows in two files, so that stretches go over the seams of blocks and files; some lines are empty."""
    place = tmp_path_factory.mktemp("rows")
    write_jsonl(place / "a.jsonl", [{"n": n} for n in range(700)])
    (place / "a.jsonl").write_text("\n\n" + (place / "a.jsonl").read_text())
    write_jsonl(place / "b.jsonl", [{"n": n} for n in range(700, 1200)])
    return place


def numbers(folder: Path, **settings: Any) -> list[int]:
    source = source_of(folder, **settings)
    found = [row.value["n"] for row in rows_of(source)]
    taken = rows_taken(source)
    assert taken is None or taken == (len(found), 1200)
    return found


@pytest.mark.parametrize("split", SPLITS)
def test_local_rows_are_those_of_the_library(folder: Path, split: str) -> None:
    whole = datasets.ReadInstruction.from_spec(split).to_absolute({"train": 1200})
    assert numbers(folder, split=split) == [n for one in whole for n in range(one.from_, one.to)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"skip": 1190}, list(range(1190, 1200))),
        ({"skip": 690, "rows": 20}, list(range(690, 710))),
        ({"split": "train[50%:]", "skip": 10, "rows": 3}, [610, 611, 612]),
        ({"shards": 400}, [0, 400, 800]),
        ({"shards": 400, "shard": 399, "skip": 1}, [799, 1199]),
        ({"split": "train[10:]", "shards": 500, "shard": 3, "rows": 2}, [13, 513]),
        ({"skip": 2000}, []),
    ],
    ids=str,
)
def test_a_part_of_the_rows_can_be_taken(folder: Path, settings: dict[str, Any], expected: list[int]) -> None:
    assert numbers(folder, **settings) == expected


def test_parts_are_prepared_and_planned_by_themselves(world: World, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "d.jsonl", [{"human": f"Where is {n}?", "assistant": f"At {n}."} for n in range(40)])
    seen: dict[str, list[int]] = {}
    for split in ("train[:10%]", "train[10%:20%]", "train"):
        recipe = recipe_of(world, data={"train": [{"path": str(path), "split": split}]})
        store, cached = prepare(recipe, recipe.data.train, world.model)
        assert not cached
        seen[split] = [int(origin.rpartition(":")[2]) for origin in store.origins]
    assert seen == {"train[:10%]": [1, 2, 3, 4], "train[10%:20%]": [5, 6, 7, 8], "train": list(range(1, 41))}


def test_the_plan_counts_the_part_alone(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from luthier.data.encoder import Encoder

    path = write_jsonl(tmp_path / "d.jsonl", [{"human": f"Where is {n}?", "assistant": "There."} for n in range(4000)])
    monkeypatch.setattr("luthier.plan.volume.PATIENCE", 0.0)
    for split, rows in (("train[50%:]", 2000), ("train[-1000:]", 1000), ("train[:25%]+train[90%:]", 1400)):
        recipe = recipe_of(world, data={"train": [{"path": str(path), "split": split}], "workers": 1})
        volume = estimate(recipe, world.model, Encoder.open(world.model))
        assert not volume.exact and abs(volume.documents - rows) <= 2, split


def test_short_documents_are_dropped_and_counted(world: World, tmp_path: Path) -> None:
    rows = [{"human": "a", "assistant": "b"}, {"human": "Where is the mill?", "assistant": "The mill is here. " * 4}]
    path = write_jsonl(tmp_path / "d.jsonl", rows)
    recipe = recipe_of(world, data={"train": [{"path": str(path)}], "min_length": 30})
    store, _ = prepare(recipe, recipe.data.train, world.model)
    assert list(store.origins) == [f"{path}:2"] and store.summary["fates"] == {"kept": 1, "short": 1}
    assert store.summary["lost_targets"]["short"] >= 2
    recipe = recipe_of(world, data={"train": [{"path": str(path)}], "min_length": 90, "max_length": 95})
    with pytest.raises(DataError, match=r"data\.min_length"):
        prepare(recipe, recipe.data.train, world.model)
