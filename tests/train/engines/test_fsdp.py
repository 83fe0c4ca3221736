"""Two real processes that share out weights, gradients and optimiser state by PyTorch's fully_shard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from torch.distributed.tensor import DTensor

from luthier.environment import World as Place
from luthier.errors import RunError
from luthier.model.load import build_model
from luthier.plan.instead import installed
from luthier.recipe.validate import build
from luthier.train.engines.fsdp import FullyShared, units
from luthier.train.join import join
from luthier.train.launch import free_port
from tests.conftest import World
from tests.processes import Forked
from tests.train.engines.runs import (
    ADAPTED,
    alone,
    assert_alike,
    ends_alike,
    goes_on_identically,
    interrupted,
    quantised,
    recipe,
    run,
)

Write = Callable[..., Path]
FSDP = {"engine": "fsdp", "stage": 3}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parallel", "sections"),
    [
        ({}, {}),
        ({"offload_parameters": True, "offload_optimizer": True}, {}),
        ({"stage": 2}, {**ADAPTED, "runtime": {"gradient_checkpointing": True}}),
    ],
    ids=["full", "offloaded", "lora"],
)
def test_two_processes_go_on_in_the_middle_of_an_epoch_as_if_never_stopped(
    parallel: dict[str, Any],
    sections: dict[str, Any],
    world: World,
    write_recipe: Write,
    forked: Forked,
    tmp_path: Path,
) -> None:
    tree = recipe(world, parallel={**FSDP, **parallel}, **sections)
    file = write_recipe(tree)
    run(forked, file, tmp_path / "two", 2)
    if not sections:
        assert_alike(alone(forked, tree), tmp_path / "two")
    parts = sorted(path.name for path in (tmp_path / "two/checkpoints/step-00000004/weights").iterdir())
    assert len(parts) == 2
    goes_on_identically(forked, file, tmp_path / "two", 4)


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_one_goes_on_and_two_again(
    world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    tree = recipe(world, parallel=FSDP, tokenizer={"added": ["Zed"]}, adapter={"kind": "lora", "rank": 4})
    file = write_recipe(tree)
    run(forked, file, tmp_path / "two", 2)
    assert_alike(alone(forked, tree), tmp_path / "two")
    fewer = interrupted(tmp_path / "two", tmp_path / "fewer", 2)
    run(forked, file, fewer, 1)
    more = interrupted(fewer, tmp_path / "more", 4)
    run(forked, file, more, 2)
    for other in (fewer, more):
        ends_alike(tmp_path / "two", other)


@pytest.mark.slow
def test_rows_that_are_saved_in_whole_embeddings_are_those_of_one_process(
    world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    tree = recipe(world, parallel=FSDP, tokenizer={"added": ["Zed"]}, adapter={"kind": "ia3"})
    assert "frozen tensors are bit for bit" in run(forked, write_recipe(tree), tmp_path / "two", 2)
    assert (tmp_path / "two/model/token_rows.json").exists()
    assert_alike(alone(forked, tree), tmp_path / "two")


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_the_best_weights_come_back_after_an_evaluation_that_nothing_was_saved_after(
    stage: int, world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    """No later evaluation is better by enough, so that the first one's weights are the result."""
    evaluate = {"at_start": False, "keep_best": True, "threshold": 100.0}
    tree = recipe(world, parallel={**FSDP, "stage": stage}, evaluate=evaluate, checkpoint={"every": "never"})
    run(forked, write_recipe(tree), tmp_path / "two", 2)
    assert_alike(alone(forked, tree), tmp_path / "two")


@pytest.mark.slow
@pytest.mark.skipif(not installed("bitsandbytes"), reason="bitsandbytes is not installed")
@pytest.mark.parametrize(("storage", "compute"), [("bf16", "fp32"), ("uint8", "bf16")])
def test_packed_bits_are_shared_out(
    storage: str, compute: str, world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    sections = quantised(world, tmp_path, storage) | {"precision": {"compute": compute}}
    tree = recipe(world, parallel=FSDP, **sections)
    assert "frozen tensors are bit for bit" in run(forked, write_recipe(tree), tmp_path / "two", 2)
    assert_alike(alone(forked, tree), tmp_path / "two", 1e-5 if compute == "fp32" else 3e-2)


def _look(rank: int, port: int, tree: dict[str, Any], model: str) -> None:
    made = build(tree, str)
    ranks = join(made, Place(rank, 2, rank, "127.0.0.1", port))
    engine = FullyShared(made, ranks)
    built = build_model(made, 300, Path(model))
    before = {name: one.detach().clone() for name, one in built.named_parameters()}
    wrapped: Any = engine.wrap(built)
    for name, one in wrapped.named_parameters():
        assert isinstance(one, DTensor), name
        assert one.to_local().numel() < before[name].numel()
    with engine.whole(wrapped) as here:
        assert here == (rank == 0)
        if here:
            assert type(wrapped).__name__ == "LlamaForCausalLM"
            assert all(torch.equal(one, before[name]) for name, one in wrapped.named_parameters())
    assert all(isinstance(one, DTensor) for one in wrapped.parameters())
    ranks.together("the end")
    ranks.part()


def test_every_parameter_is_a_part_and_whole_where_it_is_asked_for(world: World) -> None:
    tree = recipe(world, parallel=FSDP)
    mp.spawn(_look, args=(free_port(), tree, str(world.model)), nprocs=2)


def _step_in_bf16(rank: int, port: int, tree: dict[str, Any], model: str) -> None:
    made = build(tree, str)
    ranks = join(made, Place(rank, 2, rank, "127.0.0.1", port))
    losses: list[float] = []
    for compute in (torch.float32, torch.bfloat16):
        engine = FullyShared(made, ranks)
        engine.compute = compute  # whether or not this processor computes in it at speed
        built = build_model(made, 300, Path(model))
        seen: list[tuple[torch.dtype, ...]] = []
        built.get_submodule("model.layers.0.mlp.up_proj").register_forward_hook(
            lambda module, given, output, seen=seen: seen.append((module.weight.dtype, output.dtype))
        )
        wrapped: Any = engine.wrap(built)
        ids = torch.arange(3, 43).view(1, -1)
        with engine.autocast():
            loss = wrapped(input_ids=ids, labels=ids, document_lengths=(40,)).loss
        engine.backward(loss.float())
        losses.append(float(loss))
        assert seen == [(compute, compute)]
        for name, one in wrapped.named_parameters():
            assert one.dtype is torch.float32 and isinstance(one.grad, DTensor) and one.grad.dtype is torch.float32
            assert one.grad.to_local().abs().sum() > 0 or "embed" in name or "lm_head" in name, name
    assert losses[0] != losses[1] and abs(losses[0] - losses[1]) < 0.02 * losses[0], losses
    ranks.together("the end")
    ranks.part()


def test_weights_travel_and_compute_in_the_compute_type_and_their_gradients_are_added_up_in_fp32(world: World) -> None:
    mp.spawn(_step_in_bf16, args=(free_port(), recipe(world, parallel=FSDP), str(world.model)), nprocs=2)


def test_a_layer_that_the_model_has_not_is_told(world: World) -> None:
    model = build_model(build(recipe(world), str), 300, world.model)
    assert [type(one).__name__ for one in units(model, ())] == ["LlamaDecoderLayer"] * 2
    assert len(units(model, ["LlamaMLP"])) == 2
    with pytest.raises(RunError, match="no GPTBlock") as raised:
        units(model, ["GPTBlock"])
    assert "LlamaDecoderLayer" in str(raised.value)
