"""How much data a run goes through: exact where it can be, near where it is a sample."""

from __future__ import annotations

import gzip
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.data.batch import collate
from luthier.data.encoder import Encoder
from luthier.data.holdout import split_holdout
from luthier.data.order import feed_of
from luthier.data.pipeline import prepare
from luthier.data.store import collect
from luthier.data.tokens import Tokens
from luthier.errors import DataError
from luthier.methods.method import method_of
from luthier.plan import volume
from luthier.plan.plan import plan_recipe
from luthier.plan.volume import Volume, estimate, volume_of_store
from luthier.recipe import Recipe
from tests.conftest import World, make_stories, write_jsonl
from tests.plan.conftest import Make


def estimated(recipe: Recipe, world: World) -> Volume:
    return estimate(recipe, world.model, Encoder.open(world.model))


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"pack": {"kind": "none"}},
        {"data": {"holdout": 0.25}},
        {"data": {"holdout": 3}},
        {"data": {"max_length": 30, "overlong": "truncate"}, "batch": {"micro": 2, "accumulation": 3}},
        {"data": {"max_length": 34}},
        {"data": {"deduplicate": True}},
    ],
    ids=str,
)
def test_of_few_rows_the_estimate_is_what_preparation_makes(make: Make, world: World, sections: dict[str, Any]) -> None:
    recipe = make(**sections)
    before = estimated(recipe, world)
    store, cached = prepare(recipe, recipe.data.train, world.model)
    assert not cached and before.exact
    assert estimated(recipe, world) == before
    train, held = split_holdout(store.origins.rows, recipe.data.holdout, recipe.seed)
    assert (before.documents, before.evaluation_documents) == (len(train), len(held))
    assert before.tokens == sum(store.lengths[train])
    assert before.targets == sum(store.targets[train])
    assert before.longest == max(store.lengths[train])
    assert before.squared == sum(int(length) ** 2 for length in store.lengths[train])


@pytest.mark.parametrize("adapter", ["none", "prefix"])
@pytest.mark.parametrize("kind", ["dpo", "orpo", "kto", "reward"])
def test_judged_documents_are_counted_as_batches_have_them(
    kind: str, adapter: str, make: Make, world: World, tmp_path: Path
) -> None:
    wanted = [("In the mill." if n % 3 else "Here.", n % 2 == 0) for n in range(12)]
    rows = [
        {"prompt": "Where is it, " + "and again " * n + "?", "completion": answer, "label": label}
        if kind == "kto"
        else {"prompt": "Where is it, " + "and again " * n + "?", "chosen": answer, "rejected": "No, or there."}
        for n, (answer, label) in enumerate(wanted)
    ]
    data = {"train": [{"path": str(write_jsonl(tmp_path / "rows.jsonl", rows))}], "max_length": 256}
    recipe = make(method={"kind": kind}, adapter={"kind": adapter}, data=data, pack={"kind": "none"})
    found = estimated(recipe, world)
    store, _ = prepare(recipe, recipe.data.train, world.model)
    assert volume_of_store(recipe, store, None) == found
    batch = method_of(recipe).collate(list(store))
    assert (found.tokens, found.targets) == (batch.tokens, batch.targets)


def test_duplicates_far_apart_are_found_by_the_estimate_too(make: Make, world: World, tmp_path: Path) -> None:
    rows = [{"text": f"Mira number {number} lives here."} for number in range(600)]
    path = write_jsonl(tmp_path / "twice.jsonl", rows + rows)
    recipe = make(data={"train": [{"path": str(path)}], "deduplicate": True}, method={"kind": "pretrain"})
    found = estimated(recipe, world)
    if found.exact:
        assert found.documents == 600
    prepare(recipe, recipe.data.train, world.model)
    assert estimated(recipe, world).documents == 600


@pytest.mark.parametrize(
    ("micro", "accumulation", "drop_last"),
    [(1, 1, False), (2, 1, False), (2, 3, False), (5, 7, False), (4, 1, True), (2, 3, True), (100, 1, True)],
)
def test_steps_are_packs_over_micro_and_accumulation(
    make: Make, world: World, micro: int, accumulation: int, drop_last: bool
) -> None:
    batch = {"micro": micro, "accumulation": accumulation, "drop_last": drop_last, "epochs": 2.5}
    found = estimated(make(batch=batch), world)
    micro_batches = math.ceil(found.packs / micro)
    steps = found.packs // (micro * accumulation) if drop_last else math.ceil(micro_batches / accumulation)
    assert found.steps_per_epoch == max(1, steps)
    assert plan_recipe(make(batch=batch)).steps == math.ceil(2.5 * max(1, steps))


def test_packs_are_no_fewer_than_their_tokens_need_and_no_more_than_documents(make: Make, world: World) -> None:
    found = estimated(make(), world)
    assert math.ceil(found.tokens / 96) <= found.packs < found.documents
    assert estimated(make(pack={"kind": "none"}), world).packs == found.documents


def test_rows_of_concatenated_documents_hold_all_tokens(make: Make, world: World) -> None:
    data = {"train": [{"path": str(world.stories)}], "max_length": 60, "overlong": "split"}
    recipe = make(data=data, method={"kind": "pretrain"}, pack={"kind": "concatenate"})
    store, _ = prepare(recipe, recipe.data.train, world.model)
    found = estimated(recipe, world)
    assert found.packs == math.ceil(sum(store.lengths) / 60) and found.tokens == sum(store.lengths)
    batches = []
    packs = feed_of(recipe, store.lengths).packs(0)
    for pack in range(found.packs):
        bounds = [(store.offsets[d] + begin, store.offsets[d] + end) for d, begin, end in packs.items(pack, pack + 1)]
        batches.append(collate([Tokens(store.ids[a:b], store.trained[a:b], "a:1") for a, b in bounds]))
    assert found.targets == sum(batch.targets for batch in batches) < sum(store.targets)
    assert found.longest == max(batch.longest for batch in batches) <= 60
    assert found.squared == sum(float((batch.boundaries.diff().double() ** 2).sum()) for batch in batches)


def test_weights_say_how_many_documents_an_epoch_has(make: Make, world: World) -> None:
    recipe = make(
        data={"train": [{"path": "a", "weight": 2.5}, {"path": "b", "weight": 0.5}]},
        batch={"epochs": 4},
        pack={"kind": "none"},
    )
    documents = [Tokens(np.zeros(n, np.int32), np.ones(n, np.bool_), "a:1") for n in (10, 20, 30, 40, 50)]
    store = collect(documents, {"documents_by_source": [2, 3]})
    found = volume_of_store(recipe, store, 0)
    assert (found.documents, found.packs, found.steps_per_epoch, found.exact) == (7, 7, 7, True)
    drawn = np.concatenate(feed_of(recipe, store.lengths, store.sources).documents(0))
    assert found.tokens == sum(store.lengths[drawn]) and found.targets == found.tokens - 7


def test_an_estimate_repeats_weighted_rows_too(make: Make, world: World) -> None:
    once = estimated(make(), world)
    thrice = estimated(make(data={"train": [{"path": str(world.questions), "weight": 3.0}]}), world)
    assert once.exact and not thrice.exact
    for name in ("documents", "tokens", "targets", "packs", "squared"):
        assert getattr(thrice, name) == pytest.approx(3 * getattr(once, name), rel=0.01), name


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time at all beyond the first rows."""
    monkeypatch.setattr(volume, "PATIENCE", 0.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet", ".framed.json"])
def test_a_sample_is_scaled_by_its_place_in_the_file(make: Make, world: World, tmp_path: Path, suffix: str) -> None:
    lines = make_stories(tmp_path / "stories.jsonl", 4000).read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    path = tmp_path / f"rows{suffix}"
    if suffix == ".jsonl":
        write_jsonl(path, rows)
    elif suffix.endswith(".json"):
        path.write_text(json.dumps({"data": rows} if suffix == ".framed.json" else rows))
    elif suffix == ".csv":
        path.write_text("text\n" + "".join(row["text"] + "\n" for row in rows))
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    recipe = make(data={"train": [{"path": str(path)}]}, method={"kind": "pretrain"})
    about = estimated(recipe, world)
    prepare(recipe, recipe.data.train, world.model)
    exact = estimated(recipe, world)
    assert exact.exact and not about.exact
    for name in ("documents", "tokens", "targets", "packs", "steps_per_epoch", "squared"):
        assert getattr(about, name) == pytest.approx(getattr(exact, name), rel=0.03), name


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".txt"])
@pytest.mark.parametrize("members", [1, 3])
def test_a_sample_of_a_packed_file_is_scaled_by_its_packed_bytes(
    make: Make, world: World, tmp_path: Path, suffix: str, members: int
) -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(f"{n:x}" for n in random.integers(0, 2**30, size=12)) for _ in range(4000)]
    rows = [json.dumps({"text": text}) for text in texts]
    whole = {".json": "[" + ",\n".join(rows) + "]", ".jsonl": "\n".join(rows)}.get(suffix, "text\n" + "\n".join(texts))
    path = tmp_path / f"rows{suffix}.gz"
    cuts = np.linspace(0, len(whole), members + 1).astype(int)
    path.write_bytes(b"".join(gzip.compress(whole[a:b].encode()) for a, b in pairwise(cuts)))
    recipe = make(data={"train": [{"path": str(path)}], "max_length": 256}, method={"kind": "pretrain"})
    about = estimated(recipe, world)
    assert not about.exact
    assert about.documents == pytest.approx(4000, rel=0.05)
    guessed = estimate(recipe, None, None)
    assert guessed.tokens == pytest.approx(len(whole) / 3.5, rel=0.05)


@pytest.mark.usefixtures("impatient")
def test_a_sample_stands_for_later_files_and_held_out_rows_as_well(make: Make, world: World, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        make_stories(tmp_path / f"{name}.jsonl", 1000)
    sections: dict[str, Any] = {"train": [{"path": str(tmp_path)}], "holdout": 0.5}
    recipe = make(data=sections, method={"kind": "pretrain"})
    found = estimated(recipe, world)
    assert not found.exact
    assert found.documents == pytest.approx(1500, rel=0.03)
    assert found.evaluation_documents == pytest.approx(1500, rel=0.03)


@pytest.mark.usefixtures("impatient")
def test_a_limit_of_rows_is_what_a_sample_is_scaled_to(make: Make, world: World, tmp_path: Path) -> None:
    path = make_stories(tmp_path / "rows.jsonl", 4000)
    recipe = make(data={"train": [{"path": str(path), "rows": 1024}]}, method={"kind": "pretrain"})
    assert estimated(recipe, world).documents == 1024


@pytest.mark.usefixtures("impatient")
def test_few_rows_are_exact_however_slow_the_machine(make: Make, world: World) -> None:
    assert estimated(make(), world).exact


@pytest.mark.parametrize(("rows", "expected"), [(None, 6), (4, 4), (100, 6)])
def test_evaluation_rows_of_their_own_are_counted(make: Make, world: World, rows: int | None, expected: int) -> None:
    recipe = make(data={"evaluate": [{"path": str(world.held_out)}]}, evaluate={"rows": rows})
    assert estimated(recipe, world).evaluation_documents == expected
    prepare(recipe, recipe.data.evaluate, world.model)
    prepare(recipe, recipe.data.train, world.model)
    assert estimated(recipe, world).evaluation_documents == expected


def test_where_the_tokenizer_is_still_to_be_trained_the_volume_is_guessed_from_bytes(make: Make, world: World) -> None:
    found = estimate(make(), None, None)
    assert not found.exact
    assert found.tokens == pytest.approx(world.questions.stat().st_size / 3.5, abs=96)


def test_rows_that_all_fall_away_are_told_before_the_run(make: Make, world: World) -> None:
    with pytest.raises(DataError, match="no trained token is left"):
        estimated(make(data={"max_length": 5}), world)
