"""The loop's arithmetic: one division, planned steps, nothing non-finite stepped on."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from luthier.data.order import Feed
from luthier.data.pipeline import prepare
from luthier.errors import RunError
from luthier.methods.causal import SupervisedFineTuning
from luthier.model.attention import register
from luthier.recipe import Recipe
from luthier.record.events import Stepped
from luthier.train.engines.single import SingleDevice
from luthier.train.loop import one_step, planned_steps, train
from luthier.train.optimizer import build_optimizer
from luthier.train.work import Progress, Work
from tests.conftest import World


@pytest.fixture
def recipe(world: World) -> Recipe:
    import json

    return Recipe.model_validate_json(json.dumps(world.recipe(pack={"kind": "none"})))


def work_of(world: World, recipe: Recipe, micro: int = 1, accumulation: int = 8, total: int = 4) -> Work:
    store, _ = prepare(recipe, recipe.data.train, Path(world.model))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(world.model, attn_implementation=register())
    engine = SingleDevice(recipe)
    torch.set_num_threads(1)
    feed = Feed(store.lengths, None, micro, accumulation, shuffle=True, seed=7)
    return Work(
        model=model,
        method=SupervisedFineTuning(),
        engine=engine,
        optimizer=build_optimizer(model, recipe),
        rate=lambda step: 1e-3,
        store=store,
        documents=list(range(len(store))),
        feed=feed,
        total=total,
        clip=1.0,
    )


def gradients(world: World, recipe: Recipe, micro: int, accumulation: int) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of the first step, caught where the optimiser would use them."""
    work = work_of(world, recipe, micro, accumulation)
    caught: list[torch.Tensor] = []

    def catch(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        caught.extend(p.grad.clone() for p in work.model.parameters() if p.grad is not None)

    work.optimizer.register_step_pre_hook(catch)
    step, epoch, micros = next(planned_steps(work.feed, 0, work.total))
    return one_step(work, step, epoch, micros).loss, caught


@pytest.mark.parametrize(("micro", "accumulation"), [(2, 4), (4, 2), (8, 1)])
def test_the_split_into_micro_batches_changes_nothing(
    world: World, recipe: Recipe, micro: int, accumulation: int
) -> None:
    """1x8 = 2x4 = 4x2 = 8x1: gradients within 1e-6 relative in fp32, though documents differ in trained tokens."""
    loss, expected = gradients(world, recipe, 1, 8)
    other, found = gradients(world, recipe, micro, accumulation)
    assert other == pytest.approx(loss, rel=1e-6)
    for a, b in zip(expected, found, strict=True):
        assert float((a - b).norm() / a.norm()) < 1e-6


def test_executed_steps_are_the_planned_ones(world: World, recipe: Recipe) -> None:
    work = work_of(world, recipe, micro=2, accumulation=2, total=11)
    planned = list(planned_steps(work.feed, 0, work.total))
    executed: list[Stepped] = []
    progress = Progress()
    train(work, progress, lambda event: bool(executed.append(event)))
    assert [event.step for event in executed] == [step + 1 for step, _, _ in planned] == list(range(1, 12))
    for event, (_, epoch, micros) in zip(executed, planned, strict=True):
        assert event.epoch == pytest.approx(epoch)
        assert event.tokens == sum(len(work.store[d]) for micro in micros for d in micro)
        assert event.targets == sum(work.store[d].targets for micro in micros for d in micro)
    assert progress.tokens == sum(event.tokens for event in executed)


def test_planned_steps_from_the_middle_are_the_tail_of_all(world: World, recipe: Recipe) -> None:
    work = work_of(world, recipe, micro=2, accumulation=2, total=11)
    assert list(planned_steps(work.feed, 7, 11)) == list(planned_steps(work.feed, 0, 11))[7:]


def test_pieces_of_documents_are_trained_on_as_documents_of_their_own(world: World, recipe: Recipe) -> None:
    """Documents laid end to end and cut: the loss of a row is that of its pieces, each by itself."""
    work = work_of(world, recipe, total=3)
    feed = replace(work.feed, capacity=50, kind="concatenate", accumulation=1)
    work = replace(work, feed=feed, total=feed.steps_per_epoch(), rate=lambda step: 0.0)
    tokens: list[int] = []
    for step, epoch, [items] in planned_steps(feed, 0, work.total):
        pieces = [
            work.store.ids[work.store.offsets[d] + begin : work.store.offsets[d] + end] for d, begin, end in items
        ]
        event = one_step(work, step, epoch, [items])
        assert event.tokens == sum(map(len, pieces))
        tokens += np.concatenate(pieces).tolist()
        if step < 3:
            expected = 0.0
            for (d, begin, _), piece in zip(items, pieces, strict=True):
                ids = torch.from_numpy(piece.astype(np.int64))[None]
                with torch.no_grad():
                    found = work.model(input_ids=ids, document_lengths=(len(piece),)).logits[0].log_softmax(-1)
                start = int(work.store.offsets[d]) + begin
                expected -= sum(
                    float(found[t - 1, ids[0, t]]) for t in range(1, len(piece)) if work.store.trained[start + t]
                )
            assert event.loss * event.targets == pytest.approx(expected, rel=1e-4)
    assert sorted(tokens) == sorted(work.store.ids.tolist())
    assert list(planned_steps(feed, 5, work.total)) == list(planned_steps(feed, 0, work.total))[5:]


def poison(model: torch.nn.Module) -> None:
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))


def test_a_loss_that_is_not_finite_is_never_stepped_on(world: World, recipe: Recipe) -> None:
    work = work_of(world, recipe)
    head = work.model.get_parameter("model.layers.0.mlp.up_proj.weight")
    kept = head.detach().clone()
    hook = work.model.get_submodule("model.norm").register_forward_hook(
        lambda module, args, output: output * float("nan")
    )
    step, epoch, micros = next(planned_steps(work.feed, 0, 1))
    event = one_step(work, step, epoch, micros)
    hook.remove()
    assert event.skipped
    assert event.loss != event.loss
    assert torch.equal(head, kept)
    assert not one_step(work, step, epoch, micros).skipped


def test_a_run_of_non_finite_steps_ends_with_an_error(world: World, recipe: Recipe) -> None:
    work = work_of(world, recipe, micro=1, accumulation=1, total=40)
    poison(work.model)
    seen: list[Stepped] = []
    with pytest.raises(RunError, match="not finite") as caught:
        train(work, Progress(), lambda event: bool(seen.append(event)))
    assert len(seen) == work.most_skipped
    assert "optimizer.lr" in str(caught.value)


def test_stopping_after_a_step_stops_there(world: World, recipe: Recipe) -> None:
    work = work_of(world, recipe, total=12)
    progress = Progress()
    train(work, progress, lambda event: event.step == 3)
    assert progress.step == 3


def test_clipping_reports_the_norm_before_it(world: World, recipe: Recipe) -> None:
    work = work_of(world, recipe)
    for parameter in work.model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    count = sum(parameter.numel() for parameter in work.model.parameters())
    assert work.engine.clip(work.model, 1.0) == pytest.approx(0.5 * count**0.5, rel=1e-4)
    after = torch.cat([p.grad.flatten() for p in work.model.parameters() if p.grad is not None]).norm()
    assert float(after) == pytest.approx(1.0, rel=1e-4)


def test_weights_move_only_where_they_train(world: World, recipe: Recipe) -> None:
    work = work_of(world, recipe, micro=2, accumulation=1, total=3)
    before = copy.deepcopy(work.model.state_dict())
    train(work, Progress(), lambda event: False)
    assert all(not torch.equal(before[name], parameter) for name, parameter in work.model.named_parameters())
