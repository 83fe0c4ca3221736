"""A run's state on the disk: what is read of it, and when."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from luthier.errors import CheckpointError
from luthier.train import checkpoint
from luthier.train.checkpoint import State, of_this_rank
from luthier.train.ranks import Ranks
from luthier.train.stored import Stored


@pytest.fixture
def state() -> State:
    torch.manual_seed(0)
    weights = {"a": torch.randn(3, 4), "b": torch.randn(5).bfloat16()}
    optimizer = {"a|exp_avg": torch.randn(3, 4), "a|step": torch.tensor(7.0)}
    return State(weights, optimizer, checkpoint.random_tensors(torch.device("cpu")), {"step": 7})


def same(found: object, kept: object) -> bool:
    assert isinstance(found, Stored) and isinstance(kept, dict)
    return list(found) == sorted(kept) and all(torch.equal(found[name], one) for name, one in kept.items())


def test_what_was_saved_is_read_tensor_by_tensor(state: State, tmp_path: Path) -> None:
    found = checkpoint.load(checkpoint.save(tmp_path, "step-00000007", state))
    assert all(same(getattr(found, part), getattr(state, part)) for part in ("weights", "optimizer", "random"))
    assert found.progress == {"step": 7}
    assert found.weights["b"].dtype is torch.bfloat16 and "c" not in found.weights
    one, other = found.weights["a"], found.weights["a"]
    one.zero_()
    assert torch.equal(other, state.weights["a"]) and torch.equal(found.weights["a"], state.weights["a"])


def test_the_optimisers_state_may_stay_unread(state: State, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, "step-00000007", state)
    (path / "optimizer.safetensors").unlink()
    found = checkpoint.load(path, weights_only=True)
    assert same(found.weights, state.weights) and not found.optimizer


def test_a_file_that_is_cut_off_is_told(state: State, tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, "step-00000007", state)
    file = path / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(path)


def test_a_process_finds_its_own_generators_among_those_saved() -> None:
    saved = {name: torch.tensor([number]) for number, name in enumerate(("cpu", "cpu.1", "cpu.11", "cuda", "cuda.1"))}
    assert of_this_rank(saved, Ranks(0, 2)).keys() == {"cpu", "cuda"}
    assert {name: int(one) for name, one in of_this_rank(saved, Ranks(1, 2)).items()} == {"cpu": 1, "cuda": 4}
    assert of_this_rank(saved, Ranks(2, 3)) == {}
