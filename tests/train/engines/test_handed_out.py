"""Only the first process reads the weights: the others never hold more than their part of them and a layer."""

from __future__ import annotations

import multiprocessing
import re
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor

from luthier.environment import World as Place
from luthier.model.hollow import may_be_hollow
from luthier.model.load import build_model
from luthier.plan.deepspeed_settings import deepspeed_settings
from luthier.plan.instead import installed
from luthier.recipe.validate import build
from luthier.train.engines.deepspeed import ZeroRedundancy, _deepspeed
from luthier.train.engines.fsdp import FullyShared
from luthier.train.engines.handed_out import OneByOne
from luthier.train.join import join
from luthier.train.launch import free_port
from tests.conftest import World, make_model
from tests.train.engines.runs import recipe

VOCABULARY = 300


def _memory(name: str) -> int:
    """Bytes that this process has now (VmRSS), or has had at most (VmHWM)."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _fill(rank: int, port: int, tree: dict[str, Any], engine: str, said: Connection) -> None:
    made = build(tree, str)
    ranks = join(made, Place(rank, 2, rank, "127.0.0.1", port))
    settings = deepspeed_settings(made)
    if engine == "deepspeed":
        _deepspeed("cpu")
    carrier: Any = (ZeroRedundancy if engine == "deepspeed" else FullyShared)(made, ranks)
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    with torch.device("meta" if rank else "cpu"):
        model = build_model(made, VOCABULARY, Path(made.model.path or ""), hollow=bool(rank))
    wrapped = carrier.wrap(model)
    if engine == "deepspeed":
        OneByOne(wrapped, ranks).share_out(settings)
    grown = _memory("VmHWM") - before
    parts = (getattr(one, "ds_tensor", one).detach() for one in wrapped.parameters())
    local = (one.to_local() if isinstance(one, DTensor) else one for one in parts)
    own = sum(float(one.double().abs().sum()) for one in local)
    said.send((grown, own))
    time.sleep(120)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells a process's largest memory")
@pytest.mark.parametrize("engine", ["fsdp", "deepspeed"])
def test_a_process_that_is_handed_its_part_never_holds_the_whole(engine: str, world: World, tmp_path: Path) -> None:
    if engine == "deepspeed" and not installed("deepspeed"):
        pytest.skip("DeepSpeed is not installed")
    model = make_model(tmp_path / "model", VOCABULARY, hidden_size=512, intermediate_size=2048, num_hidden_layers=12)
    whole = (model / "model.safetensors").stat().st_size
    tree = recipe(world, model={"path": str(model)}, parallel={"engine": engine, "stage": 3})
    context: Any = multiprocessing.get_context("fork")
    port, pipes = free_port(), [multiprocessing.Pipe(duplex=False) for _ in range(2)]
    both = [context.Process(target=_fill, args=(rank, port, tree, engine, pipes[rank][1])) for rank in range(2)]
    for one in both:
        one.start()
    try:
        assert all(heard.poll(120) for heard, _ in pipes), "a process says nothing"
        said = [heard.recv() for heard, _ in pipes]
    finally:
        for one in both:
            one.kill()
            one.join()
    assert whole > 180e6
    assert said[1][0] < 0.9 * whole
    sums = sum(
        float(one.detach().double().abs().sum())
        for one in build_model(build(tree, str), VOCABULARY, model).parameters()
    )
    assert said[0][1] + said[1][1] == pytest.approx(sums, rel=1e-9)
    assert min(said[0][1], said[1][1]) > 0.3 * sums


def test_what_looks_at_the_weights_first_is_read_by_each(world: World) -> None:
    def hollow(**sections: Any) -> bool:
        return may_be_hollow(build(recipe(world, **sections), str))

    assert hollow() and hollow(adapter={"kind": "lora"})
    assert not hollow(adapter={"kind": "lora", "init": "pissa"})
    assert not hollow(adapter={"kind": "lora", "dora": True})
    assert not hollow(adapter={"kind": "lora"}, quantise={"bits": 4})
