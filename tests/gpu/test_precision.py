"""fp16 on a GPU: scaled, skipped where it overflows, and gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.record.events import Started, Stepped, read_events
from tests.conftest import World

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


def test_fp16_trains_under_a_scale_that_a_checkpoint_keeps(
    world: World, tmp_path: Path, luthier: Callable[..., Any], write_recipe: Callable[..., Path]
) -> None:
    def steps(name: str, *words: str) -> list[Stepped]:
        tree = world.recipe(
            batch={"steps": 12},
            precision={"compute": "fp16"},
            checkpoint={"every": 4, "keep_last": None},
            output={"dir": str(tmp_path / name)},
        )
        done = luthier("train", write_recipe(tree), *words)
        assert done.returncode == 0, done.stderr
        events = list(read_events(tmp_path / name / "events.jsonl"))
        started = next(event for event in events if isinstance(event, Started))
        assert (started.device, started.environment["compute"]) == ("cuda", "float16")
        return [event for event in events if isinstance(event, Stepped)]

    whole = steps("whole")
    assert {event.cause for event in whole} <= {"", "overflow"}
    assert whole[-1].loss < whole[0].loss
    kept = tmp_path / "whole" / "checkpoints" / "step-00000008"
    state = json.loads((kept / "progress.json").read_text())["extra"]["scaler"]
    assert state["scale"] >= 1.0 and "_growth_tracker" in state
    again = steps("again", f"checkpoint.resume={kept}")
    assert [event.loss for event in again] == pytest.approx([event.loss for event in whole[8:]], rel=1e-3)
    exact = steps_of_fp32(world, tmp_path, luthier, write_recipe)
    assert [event.loss for event in whole][-4:] == pytest.approx(exact[-4:], rel=0.05)


def steps_of_fp32(
    world: World, tmp_path: Path, luthier: Callable[..., Any], write_recipe: Callable[..., Path]
) -> list[float]:
    tree = world.recipe(batch={"steps": 12}, output={"dir": str(tmp_path / "exact")})
    assert luthier("train", write_recipe(tree)).returncode == 0
    return [event.loss for event in read_events(tmp_path / "exact" / "events.jsonl") if isinstance(event, Stepped)]


def test_noise_on_a_gpu_has_the_same_bounds() -> None:
    from luthier.train.noise import Noise

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Embedding(7, 256).cuda()

        def get_input_embeddings(self) -> torch.nn.Module:
            return self.layer

    model = Model()
    torch.nn.init.zeros_(model.layer.weight)
    noise, ids = Noise(model, 5.0, 1), torch.zeros(1, 64, dtype=torch.long, device="cuda")
    found = []
    for _ in range(2):
        with noise.of(torch.tensor([0, 5, 64]), 3, 0):
            found.append(model.layer(ids)[0].detach())
    assert torch.equal(*found)
    for part, length in zip(found[0].split((5, 59)), (5, 59), strict=True):
        assert 0.99 < float(part.abs().max()) * (length * 256) ** 0.5 / 5.0 <= 1.0
