"""A streamed source is read only as far as the steps need, and a hub's dataset fetched no further."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from luthier.data.pipeline import prepare
from luthier.data.streaming import Enough, enough_for
from luthier.record.events import Prepared, read_events
from tests.conftest import World, write_jsonl
from tests.data.made import recipe_of
from tests.data.rows_hub import NAME, RowsHub, rows_hub

TEXTS = [f"Mira lives in mill number {number}." for number in range(5000)]
PACKED = {"pack": {"kind": "best_fit"}, "batch": {"micro": 2, "accumulation": 3, "steps": 4}}


def recipe(world: World, path: Path | str, *, packed: bool = True, **data: Any) -> Any:
    pack = PACKED if packed else {**PACKED, "pack": {"kind": "none"}}
    settings = {"train": [{"path": str(path), "streaming": True}], "max_length": 64, **data}
    return recipe_of(world, method={"kind": "pretrain"}, **pack, data=settings)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "rows.jsonl", [{"text": text} for text in TEXTS])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_is_read_until_the_steps_packs_are_full(world: World, rows: Path, workers: int) -> None:
    wanted = recipe(world, rows, workers=workers)
    store, cached = prepare(wanted, wanted.data.train, world.model)
    needed = 4 * 2 * 3 * 64
    assert not cached and needed <= store.lengths.sum() < needed + 64 + 512 * int(store.lengths.max())
    assert f"{rows} was read only as far as the 4 steps need it" in store.summary["notes"]
    assert store.summary["rows"] < len(TEXTS)
    more = wanted.model_copy(update={"batch": wanted.batch.model_copy(update={"steps": 40})})
    assert len(prepare(more, more.data.train, world.model)[0]) > len(store)


def test_all_rows_count_without_steps_and_where_they_evaluate(world: World, rows: Path) -> None:
    wanted = recipe(world, rows)
    without = wanted.model_copy(update={"batch": wanted.batch.model_copy(update={"steps": None})})
    store, _ = prepare(without, without.data.train, world.model)
    assert len(store) == len(TEXTS) and "notes" not in store.summary
    source = wanted.data.train[0].model_copy(update={"skip": 1})
    assert len(prepare(wanted, [source], world.model)[0]) == len(TEXTS) - 1, "not those to train on"


@pytest.mark.parametrize("holdout", [0.0, 0.5, 100])
@pytest.mark.parametrize("packed", [True, False])
def test_what_is_held_out_comes_on_top(world: World, rows: Path, packed: bool, holdout: float) -> None:
    wanted = recipe(world, rows, packed=packed, holdout=holdout)
    found = enough_for(wanted, wanted.data.train)
    packs = 4 * 2 * 3
    expected = {
        (True, 0.0): Enough(tokens=packs * 64 + 64),
        (True, 0.5): Enough(tokens=packs * 128 + 64),
        (True, 100): Enough(tokens=packs * 64 + 101 * 64),
        (False, 0.0): Enough(documents=packs + 1),
        (False, 0.5): Enough(documents=2 * packs + 1),
        (False, 100): Enough(documents=packs + 101),
    }
    assert found == expected[packed, holdout]


def test_each_of_several_sources_may_be_the_only_one_that_an_order_takes(world: World, rows: Path) -> None:
    train = [{"path": str(rows), "streaming": True}, {"path": str(rows), "skip": 1}]
    wanted = recipe(world, rows, train=train, workers=1)
    store, _ = prepare(wanted, wanted.data.train, world.model)
    first, second = store.summary["documents_by_source"]
    assert first < 1024 and second == len(TEXTS) - 1


@pytest.fixture
def hub() -> Iterator[RowsHub]:
    lines = "".join(json.dumps({"text": text + " She bakes bread there." * 20}) + "\n" for text in TEXTS).encode()
    file = lines * 8
    with rows_hub({f"data/train-{number:02}.jsonl": file for number in range(40)}) as found:
        yield found


@pytest.fixture
def online(hub: RowsHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RowsHub:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return hub


@pytest.mark.slow
def test_a_dataset_of_the_hub_is_fetched_no_further_than_it_is_read(
    world: World,
    online: RowsHub,
    tmp_path: Path,
    luthier: Callable[..., Any],
    write_recipe: Callable[..., Path],
) -> None:
    source = {"path": NAME, "streaming": True}
    tree = world.recipe(
        method={"kind": "pretrain"},
        data={"train": [source], "overlong": "split"},
        **{**PACKED, "batch": {"micro": 1, "steps": 3}},
        output={"dir": str(tmp_path / "run")},
    )
    done = luthier("train", write_recipe(tree))
    assert done.returncode == 0, done.stderr
    assert f"{NAME} was read only as far as the 3 steps need it" in " ".join(done.stdout.split())
    assert 0 < online.given < sum(map(len, online.files.values())) / 4, "most of the files were never fetched"

    again = luthier("train", write_recipe(tree), f"output.dir={tmp_path / 'again'}")
    assert again.returncode == 0, again.stderr
    events = (event for name in ("run", "again") for event in read_events(tmp_path / name / "events.jsonl"))
    assert [event.cached for event in events if isinstance(event, Prepared)] == [False, True]
    first, second = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("run", "again"))
    assert first == second
    online.files["data/train-00.jsonl"] = online.files["data/train-00.jsonl"].replace(b"Mira", b"Miri")
    changed = luthier("train", write_recipe(tree), f"output.dir={tmp_path / 'changed'}")
    assert changed.returncode == 0, changed.stderr
    assert (tmp_path / "changed" / "model" / "model.safetensors").read_bytes() != first

    tree["data"]["train"] = [{**source, "split": "train[:10%]"}]
    refused = luthier("show", write_recipe(tree))
    assert refused.returncode == 2 and "rows that are not counted, since they are streamed" in refused.stderr
    assert "-> write how many rows: train[:500]" in refused.stderr
    tree["data"]["train"] = [{**source, "split": "train[4:5]"}]
    shown = luthier("show", write_recipe(tree), "--json")
    assert shown.returncode == 0, shown.stderr
    assert {row["origin"] for row in json.loads(shown.stdout)["rows"]} == {f"{NAME}[train]:#5"}
