"""Running out of memory, really: an address space with too little room left for a micro-batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.errors import RunError
from luthier.recipe import Recipe
from luthier.train.fits import divided, out_of_memory
from luthier.train.loop import one_step, planned_steps, train
from luthier.train.work import Progress
from tests.conftest import World
from tests.train.test_loop import work_of

SCRIPT = """
import json, resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from luthier.recipe import Recipe
from luthier.train.loop import train
from luthier.train.work import Progress
from tests.conftest import World
from tests.train.test_loop import work_of
from dataclasses import replace

folder, room, find = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "find"
recipe = Recipe.model_validate_json((folder / "recipe.json").read_text())
world = World(folder, folder, folder, folder, Path(recipe.model.path))
work = work_of(world, recipe, micro=16, accumulation=1, total=2)
told = []
work = replace(work, find_micro=find, tell=lambda step, message, rows: told.append(message))
tried = replace(work, feed=replace(work.feed, micro=1, accumulation=16), rate=lambda step: 0.0, total=1)
train(tried, Progress(), lambda event: False)
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
if room:
    resource.setrlimit(resource.RLIMIT_AS, (held + room, held + room))
progress, losses = Progress(), []
try:
    train(work, progress, lambda event: bool(losses.append(event.loss)))
except Exception as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
else:
    print(json.dumps({"losses": losses, "parts": progress.parts, "told": told}))
"""


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    """Rows of some length for a model whose inner layers are so wide that activations are what a step takes."""
    from tests.conftest import make_model, write_jsonl

    rows = [{"messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": "mill barn " * 100}]}]
    path = write_jsonl(tmp_path / "rows.jsonl", rows * 32)
    make_model(tmp_path / "model", 400, intermediate_size=8192, max_position_embeddings=512)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "model" / name).write_text((world.model / name).read_text())
    tree: dict[str, Any] = world.recipe(
        model={"path": str(tmp_path / "model")},
        data={"train": [{"path": str(path)}], "max_length": 256},
        pack={"kind": "none"},
    )
    (tmp_path / "recipe.json").write_text(json.dumps(tree))
    return tmp_path


def ran(folder: Path, room: int, find: str = "find") -> dict[str, Any]:
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", SCRIPT, str(folder), str(room), find]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_micro_batches_are_cut_until_they_fit_and_the_steps_stay_the_same(folder: Path) -> None:
    free, tight = ran(folder, 0), ran(folder, 300 << 20)
    assert free["parts"] == 1 and not free["told"]
    assert tight["parts"] > 1
    assert f"micro-batches are cut into {tight['parts']} parts" in tight["told"][-1]
    assert tight["losses"] == pytest.approx(free["losses"], rel=1e-4)


@pytest.mark.slow
def test_without_the_setting_it_is_an_error_with_a_remedy(folder: Path) -> None:
    told = ran(folder, 300 << 20, "no")
    assert told["error"].startswith("RunError: batch.micro: memory ran out in step 1, in a micro-batch of 16 documents")
    assert "batch.find_micro: true" in told["error"]


def test_a_real_allocation_that_fails_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(caught.value)
    assert out_of_memory(MemoryError()) and not out_of_memory(RuntimeError("shapes differ"))


def test_parts_of_a_micro_batch_are_all_of_it_in_order() -> None:
    micros: list[Any] = [[1, 2, 3, 4, 5], [6], [7, 8]]
    for parts in (1, 2, 4, 8):
        cut = divided(micros, parts)
        assert [one for part in cut for one in part] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert all(cut) and max(map(len, cut)) == -(-5 // parts)


def test_one_document_that_does_not_fit_ends_the_run(world: World) -> None:
    recipe = Recipe.model_validate_json(json.dumps(world.recipe(pack={"kind": "none"})))
    work = work_of(world, recipe, micro=4, accumulation=1)
    work.model.get_submodule("model.norm").register_forward_hook(lambda *_: torch.empty(1 << 60, dtype=torch.uint8))
    progress = Progress()
    with pytest.raises(RunError, match="micro-batch of 1 documents"):
        train(replace(work, find_micro=True), progress, lambda event: False)
    assert progress.parts == 4 and progress.step == 0


def test_the_cut_is_gone_on_with_from_a_checkpoint(world: World) -> None:
    recipe = Recipe.model_validate_json(json.dumps(world.recipe(pack={"kind": "none"})))
    work = work_of(world, recipe, micro=4, accumulation=1, total=2)
    sizes: list[int] = []
    work.model.register_forward_pre_hook(
        lambda module, args, given: sizes.append(len(given["document_lengths"])), with_kwargs=True
    )
    train(work, Progress(parts=2), lambda event: event.step == 1)
    assert max(sizes) == 2
    whole = work_of(world, recipe, micro=4, accumulation=1)
    step, epoch, micros = next(planned_steps(whole.feed, 0, 1))
    apart = work_of(world, recipe, micro=4, accumulation=1)
    assert one_step(whole, step, epoch, micros).loss == pytest.approx(
        one_step(apart, step, epoch, divided(micros, 2)).loss, rel=1e-6
    )
