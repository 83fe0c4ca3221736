"""Several processes make what one makes, in the same order, and say what one says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from luthier.data import parallel
from luthier.data.block import ROWS
from luthier.data.parallel import workers_for
from luthier.data.pipeline import prepare
from luthier.data.store import TokenStore
from luthier.data.worker import Worker
from luthier.errors import DataError, RunError
from tests.conftest import World, write_jsonl
from tests.data.made import recipe_of

COUNT = 3 * ROWS + 5


def rows(path: Path, count: int = COUNT) -> Path:
    texts = (
        {"human": f"Where is number {n}?", "assistant": f"At {n // 2}<|im_end|>, " * (n % 40)} for n in range(count)
    )
    return write_jsonl(path, [{**row, "assistant": row["assistant"] or "Here."} for row in texts])


def made(world: World, path: Path, workers: int, **data: Any) -> TokenStore:
    settings = {
        "train": [{"path": str(path)}],
        "workers": workers,
        "cache": str(path.parent / f"cache{workers}"),
        **data,
    }
    recipe = recipe_of(world, data=settings)
    store, cached = prepare(recipe, recipe.data.train, world.model)
    assert not cached
    return store


@pytest.mark.parametrize(
    "data",
    [{}, {"deduplicate": True, "overlong": "split"}, {"near_duplicates": 0.8, "overlong": "keep_answer"}],
    ids=str,
)
def test_several_processes_make_the_same_store(world: World, tmp_path: Path, data: dict[str, Any]) -> None:
    path = rows(tmp_path / "d.jsonl")
    alone, together = made(world, path, 1, **data), made(world, path, 3, **data)
    assert list(together.origins) == list(alone.origins) and together.summary == alone.summary
    assert together.ids.tolist() == alone.ids.tolist() and together.trained.tolist() == alone.trained.tolist()
    assert together.offsets.tolist() == alone.offsets.tolist()
    assert together.digests.tolist() == alone.digests.tolist()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_are_shared_out_too(world: World, tmp_path: Path, suffix: str) -> None:
    values = [json.loads(line) for line in rows(tmp_path / "d.jsonl", 700).read_text().splitlines()]
    path = tmp_path / f"d{suffix}"
    if suffix == ".csv":
        path.write_text("human,assistant\n" + "".join(f'{v["human"]},"{v["assistant"]}"\n' for v in values))
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(values), path)
    assert made(world, path, 2).ids.tolist() == made(world, path, 1).ids.tolist()


def test_bad_rows_are_the_same(world: World, tmp_path: Path) -> None:
    path = rows(tmp_path / "d.jsonl")
    lines = path.read_text().splitlines()
    lines[3], lines[900], lines[901] = '{"human": "x"}', "oops", '{"human": "\\ud800", "assistant": "y"}'
    path.write_text("\n".join(lines) + "\n")
    summaries = [made(world, path, workers, bad_rows=3).summary for workers in (1, 2)]
    assert summaries[0]["bad_rows"] == summaries[1]["bad_rows"] and len(summaries[0]["bad_rows"]) == 3
    for workers in (3, 4):
        with pytest.raises(DataError) as caught:
            made(world, path, workers, bad_rows=2)
        assert {fault.place for fault in caught.value.faults[:3]} == {f"{path}:{line}" for line in (4, 901, 902)}


def test_a_dead_worker_is_told_of(world: World, tmp_path: Path) -> None:
    from luthier.data.source import blocks_of

    recipe = recipe_of(world, data={"train": [{"path": str(rows(tmp_path / "d.jsonl")), "format": "human_assistant"}]})
    worker = Worker(recipe, recipe.data.train, world.model)
    try:
        os.kill(worker.process, signal.SIGKILL)
        with pytest.raises(RunError, match="SIGKILL") as caught:
            [worker.make(0, block) for block in blocks_of(recipe.data.train[0])]
        assert "data.workers: 1" in caught.value.faults[0].remedy
    finally:
        worker.stop()


def test_few_rows_need_no_other_process(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = rows(tmp_path / "d.jsonl")
    recipe = recipe_of(world, data={"train": [{"path": str(path)}]})
    assert workers_for(recipe, recipe.data.train) == 1
    monkeypatch.setattr(parallel, "ENOUGH", 1000)
    assert workers_for(recipe, recipe.data.train) == min(parallel.cores(), parallel.MOST)
    asked = recipe_of(world, data={"train": [{"path": str(path)}], "workers": 5})
    assert workers_for(asked, asked.data.train) == 5


PROGRAM = """
import json, sys
from pathlib import Path
from luthier.data.pipeline import prepare
from luthier.recipe.validate import build

recipe = build(json.loads(sys.argv[1]), str)
print(len(prepare(recipe, recipe.data.train, Path(sys.argv[2]))[0]))
"""


def test_a_program_without_a_guard_is_not_run_again(world: World, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    tree = world.recipe(data={"train": [{"path": str(rows(tmp_path / "d.jsonl"))}], "workers": 2, "overlong": "split"})
    command = [sys.executable, str(script), json.dumps(tree), str(world.model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1 and int(done.stdout) >= COUNT and "Traceback" not in done.stderr
