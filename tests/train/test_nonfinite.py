"""Numbers that are not finite: never stepped on, and traced to their rows and to where in the model they began."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from luthier.errors import RunError
from luthier.model.kernels.checkpoints import checkpoint_layers
from luthier.recipe import Recipe
from luthier.record.events import Stepped
from luthier.train.loop import collated, one_step, planned_steps, train
from luthier.train.nonfinite import Finding, find_own, rows_told, together, watching
from luthier.train.scaler import Scaler
from luthier.train.work import Progress, Work
from tests.conftest import World
from tests.train.test_loop import work_of

Told = list[tuple[int, str, tuple[str, ...]]]


@pytest.fixture
def recipe(world: World) -> Recipe:
    return Recipe.model_validate_json(json.dumps(world.recipe(pack={"kind": "none"})))


def watched(world: World, recipe: Recipe, **sizes: int) -> tuple[Work, Told]:
    told: Told = []
    work = work_of(world, recipe, **sizes)
    return replace(work, tell=lambda step, message, rows: told.append((step, message, tuple(rows)))), told


def spoil(work: Work, module: str, token: int, value: float = float("nan")) -> Any:
    """Make a module give a value wherever a token is in its input; positions are those of the batch's ids."""
    seen: list[torch.Tensor] = []
    work.model.get_submodule("model.embed_tokens").register_forward_pre_hook(lambda _, args: seen.append(args[0]))

    def hook(_: torch.nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
        return torch.where((seen[-1] == token)[..., None], value, output)

    return work.model.get_submodule(module).register_forward_hook(hook)


def rare(work: Work, micros: list[list[int]]) -> tuple[int, str]:
    """A token that only one document of a step has, right before one that is learned, and that document's row."""
    documents = [work.store[one] for micro in micros for one in micro]
    for number, document in enumerate(documents):
        others = {int(token) for other in documents[:number] + documents[number + 1 :] for token in other.ids}
        own = [int(token) for token in document.ids[:-1][document.trained[1:]] if int(token) not in others]
        if own:
            return own[0], document.origin
    raise AssertionError("no document has a token of its own")


def test_the_row_and_the_first_module_are_named(world: World, recipe: Recipe) -> None:
    work, told = watched(world, recipe, micro=2, accumulation=2)
    step, epoch, micros = next(planned_steps(work.feed, 0, 1))
    token, row = rare(work, micros)
    before = [one.detach().clone() for one in work.model.parameters()]
    random = torch.get_rng_state()
    hook = spoil(work, "model.layers.1.mlp.up_proj", token)
    event = one_step(work, step, epoch, micros)
    assert (event.skipped, event.cause) == (True, "loss")
    assert event.loss != event.loss, "the log does not hide it"
    [(number, message, rows)] = told
    assert number == 1 and rows == (row,)
    assert message == f"step 1 was skipped: its loss is not finite, first in model.layers.1.mlp.up_proj (row {row})"
    assert all(torch.equal(*pair) for pair in zip(before, work.model.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), random), "what was computed again draws nothing"
    assert all(one.grad is None for one in work.model.parameters())
    hook.remove()
    assert one_step(work, step, epoch, micros).cause == "" and len(told) == 1


def test_a_gradient_that_is_not_finite_is_traced_to_its_row_and_parameter(world: World, recipe: Recipe) -> None:
    work, told = watched(world, recipe, micro=2, accumulation=2)
    step, epoch, micros = next(planned_steps(work.feed, 0, 1))
    token, row = rare(work, micros)
    ids: list[torch.Tensor] = []
    work.model.get_submodule("model.embed_tokens").register_forward_pre_hook(lambda _, args: ids.append(args[0]))

    class Break(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, given: torch.Tensor) -> torch.Tensor:
            ctx.bad = bool((ids[-1] == token).any())
            return given.clone()

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
            return grads[0] * (float("inf") if ctx.bad else 1.0)

    work.model.get_submodule("model.layers.0.mlp.down_proj").register_forward_hook(
        lambda module, args, output: Break.apply(output)
    )
    event = one_step(work, step, epoch, micros)
    assert (event.skipped, event.cause) == (True, "gradient")
    assert event.loss == event.loss
    [(_, message, rows)] = told
    assert rows == (row,)
    assert "its gradient is not finite, first in the gradient of model.layers.0." in message


def test_among_processes_each_looks_at_its_own_micro_batches(world: World, recipe: Recipe) -> None:
    """Whole ones, all of them, in each: the rows named are those of the micro-batch at fault."""
    work, told = watched(world, recipe, micro=2, accumulation=2)
    step, epoch, micros = next(planned_steps(work.feed, 0, 1))
    token, row = rare(work, micros)
    hook = spoil(work, "model.layers.1.mlp.up_proj", token)
    event = one_step(replace(work, alone=False), step, epoch, micros)
    assert event.cause == "loss"
    hook.remove()
    [(_, message, rows)] = told
    assert row in rows and len(rows) == 2
    assert "first in model.layers.1.mlp.up_proj of rank 0" in message
    work.model.get_submodule("model.layers.0.mlp.down_proj").register_full_backward_pre_hook(
        lambda module, grads: tuple(one * float("inf") for one in grads)
    )
    assert one_step(replace(work, alone=False), step, epoch, micros).cause == "gradient"
    assert "first in the gradient of model.layers.0." in told[1][1] and "of rank 0" in told[1][1]
    assert len(told[1][2]) == 4 and all(one.grad is None for one in work.model.parameters())


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradients_that_are_shared_out_are_followed_and_never_added(
    reentrant: bool, world: World, recipe: Recipe
) -> None:
    """To the module that they come to first, whether its layer computes again or not; nothing stays behind."""
    work, _ = watched(world, recipe, micro=2, accumulation=2)
    model: Any = work.model
    checkpoint_layers(model, {"use_reentrant": reentrant})
    model.train()
    _, _, micros = next(planned_steps(work.feed, 0, 1))
    token, row = rare(work, micros)
    ids: list[torch.Tensor] = []
    model.model.embed_tokens.register_forward_pre_hook(lambda _, args: ids.append(args[0]))

    def spoilt(_: torch.nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
        if output.requires_grad and bool((ids[-1] == token).any()):
            output.register_hook(lambda gradient: gradient * float("inf"))  # type: ignore[no-untyped-call]
        return output

    model.model.layers[1].mlp.down_proj.register_forward_hook(spoilt)

    def attempt(number: int, items: list[Any]) -> tuple[torch.Tensor, tuple[str, ...]]:
        batch = collated(work, items)
        return work.engine.look(work.method, model, batch).total, batch.origins

    found = find_own(model, list(enumerate(micros)), attempt, work.engine.backward, [], shared=True)
    assert found.where == "the gradient that comes to model.layers.1.mlp.down_proj" and row in found.rows
    assert len(found.rows) == 2 and all(one.grad is None for one in model.parameters())
    assert model.model.layers[0]._gradient_checkpointing_func.keywords == {"use_reentrant": reentrant}


def test_a_process_alone_adds_no_gradients_to_those_that_its_engine_keeps(world: World, recipe: Recipe) -> None:
    """As one process on a GPU does whose optimiser lies in host memory."""
    work, told = watched(world, recipe, micro=1, accumulation=1)
    engine: Any = work.engine
    engine.shares_gradients = True
    added: list[torch.Tensor] = []
    plain = engine.backward
    engine.backward = lambda loss: (added.append(loss), plain(loss))
    step, epoch, micros = next(planned_steps(work.feed, 0, 1))
    work.model.get_submodule("model.layers.0.mlp.down_proj").register_full_backward_pre_hook(
        lambda module, grads: tuple(one * float("inf") for one in grads)
    )
    assert one_step(work, step, epoch, micros).cause == "gradient"
    assert len(added) == 1, "the step's own"
    assert "the gradient that comes to model.layers." in told[0][1] and len(told[0][2]) == 1


def test_findings_of_several_processes_name_them() -> None:
    found = together([("model.norm", ["a:1"]), ("", []), ("the loss", ["b:2"])])
    assert found.where == "model.norm of rank 0 and in the loss of rank 2" and found.rows == ("a:1", "b:2")
    assert together([("", []), ("", [])]) == Finding()


def test_weights_that_are_not_finite_are_named(world: World, recipe: Recipe) -> None:
    work, told = watched(world, recipe, micro=1, accumulation=1)
    with torch.no_grad():
        work.model.get_parameter("model.layers.1.mlp.up_proj.weight")[0, 0] = float("inf")
    step, epoch, micros = next(planned_steps(work.feed, 0, 1))
    one_step(work, step, epoch, micros)
    assert "first in the weights of model.layers.1.mlp.up_proj.weight" in told[0][1]


def test_a_weight_that_only_some_rows_meet_is_named_with_them(world: World, recipe: Recipe) -> None:
    work, told = watched(world, recipe, micro=2, accumulation=2)
    step, epoch, micros = next(planned_steps(work.feed, 0, 1))
    token, row = rare(work, micros)
    with torch.no_grad():
        work.model.get_parameter("model.embed_tokens.weight")[token] = float("inf")
    one_step(work, step, epoch, micros)
    assert told[0][1].endswith(f"first in the weights of model.embed_tokens.weight (row {row})")
    with torch.no_grad():
        work.model.get_parameter("model.norm.weight")[0] = float("nan")
    one_step(work, step, epoch, micros)
    assert "weights of model." in told[1][1] and told[1][2] == (), "every row is at fault, and so none"


def test_a_run_shorter_than_that_of_which_no_step_is_taken_fails_too(world: World, recipe: Recipe) -> None:
    work, _ = watched(world, recipe, micro=1, accumulation=1, total=2)
    spoil(work, "model.layers.0.mlp", int(work.store[0].ids[0]))
    with pytest.raises(RunError, match="in 2 steps in a row"):
        train(replace(work, most_skipped=5), Progress(), lambda event: False)


def test_the_run_stops_after_as_many_steps_in_a_row_as_the_recipe_says(world: World, recipe: Recipe) -> None:
    work, told = watched(world, recipe, micro=1, accumulation=1, total=40)
    spoil(work, "model.layers.0.mlp", int(work.store[0].ids[0]))
    seen: list[Stepped] = []
    progress = Progress()
    with pytest.raises(RunError, match="in 3 steps in a row"):
        train(replace(work, most_skipped=3), progress, lambda event: bool(seen.append(event)))
    assert [event.cause for event in seen] == ["loss"] * 3
    assert progress.skipped == {"loss": 3} and len(told) == 3


def test_watching_finds_the_value_that_a_finite_loss_hides(world: World, recipe: Recipe) -> None:
    work, told = watched(world, recipe, micro=1, accumulation=1)
    step, epoch, micros = next(planned_steps(work.feed, 0, 1))
    inner = work.model.get_submodule("model.layers.0.input_layernorm")
    inner.register_forward_hook(lambda module, args, output: output / 0)
    inner = work.model.get_submodule("model.layers.0.self_attn.q_proj")
    inner.register_forward_pre_hook(lambda module, args: tuple(torch.nan_to_num(one, 0, 0, 0) for one in args))
    for name in ("k_proj", "v_proj"):
        other = work.model.get_submodule(f"model.layers.0.self_attn.{name}")
        other.register_forward_pre_hook(lambda module, args: tuple(torch.nan_to_num(one, 0, 0, 0) for one in args))
    assert one_step(replace(work, debug=True), step, epoch, micros).cause in ("", "gradient")
    assert any("model.layers.0.input_layernorm" in message for _, message, _ in told)


def test_what_is_watched_is_left_as_it_was(world: World, recipe: Recipe) -> None:
    work = work_of(world, recipe)
    with watching(work.model):
        pass
    assert not any(module._forward_hooks for module in work.model.modules())


def test_an_overflow_of_the_loss_scale_is_no_fault_of_the_rows(world: World, recipe: Recipe) -> None:
    """Gradients that fp16 could not hold become infinite; the scale falls until they fit, and the run goes on."""
    work, told = watched(world, recipe, micro=1, accumulation=1, total=40)

    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, given: torch.Tensor) -> torch.Tensor:
            return given.clone()

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
            return torch.where(grads[0].abs() > 65504, float("inf"), grads[0])

    work.model.get_submodule("model.norm").register_forward_hook(lambda module, args, output: Half.apply(output))
    scaler = Scaler("cpu", scale=2.0**30)
    seen: list[Stepped] = []
    progress = Progress()
    train(replace(work, scaler=scaler, most_skipped=2), progress, lambda event: bool(seen.append(event)))
    causes = [event.cause for event in seen]
    falls = causes.count("overflow")
    assert 2 < falls < 30 and set(causes) == {"overflow", ""}
    assert progress.skipped == {"overflow": falls}
    assert all("loss scale" in message and not rows for _, message, rows in told[:falls])


def test_scaling_changes_no_step(world: World, recipe: Recipe) -> None:
    ends = []
    for scaler in (None, Scaler("cpu", scale=1024.0)):
        work, _ = watched(world, recipe, micro=2, accumulation=2, total=5)
        seen: list[Stepped] = []
        train(replace(work, scaler=scaler), Progress(), lambda event, seen=seen: bool(seen.append(event)))
        ends.append(([event.loss for event in seen], [event.gradient_norm for event in seen]))
    assert ends[1][0] == pytest.approx(ends[0][0], rel=1e-5)
    assert ends[1][1] == pytest.approx(ends[0][1], rel=1e-4)


def test_a_loss_that_stands_out_names_its_rows_the_highest_first(world: World, recipe: Recipe) -> None:
    work, told = watched(world, recipe, micro=2, accumulation=2, total=30)
    work = replace(work, rate=lambda step: 0.0)
    micros = list(planned_steps(work.feed, 0, 30))[24][2]
    token, row = rare(work, micros)
    hooks: list[Any] = []

    def after(event: Stepped) -> bool:
        if event.step == 24:
            hooks.append(spoil(work, "model.norm", token, 4000.0))
        if event.step == 25:
            hooks.pop().remove()
        return False

    train(work, Progress(), after)
    [(number, message, rows)] = told
    assert number == 25 and rows[0] == row and "stands out" in message


def test_few_rows_are_named_and_the_rest_counted() -> None:
    assert rows_told(["a:1"]) == "row a:1"
    assert rows_told([f"a:{one}" for one in range(7)]).endswith("and 2 more")


def test_the_log_of_a_run_names_the_rows(
    world: World, tmp_path: Path, luthier: Callable[..., Any], write_recipe: Callable[..., Path]
) -> None:
    """A rate at which the weights overflow; they are never saved as such."""
    from safetensors.torch import load_file

    tree = world.recipe(
        batch={"steps": 20},
        optimizer={"lr": 1e30, "kind": "sgd", "clip": None},
        precision={"compute": "fp32", "most_skipped": 2},
        checkpoint={"every": 1, "keep_last": None},
        output={"dir": str(tmp_path / "run")},
    )
    ended = luthier("train", write_recipe(tree))
    assert ended.returncode == 2
    assert "not finite in 2 steps in a row" in ended.stderr and "Traceback" not in ended.stderr
    log = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    warned = [line for line in log if line["event"] == "warned" and "was skipped" in line["message"]]
    assert len(warned) == 2
    for path in (tmp_path / "run" / "checkpoints").glob("step-*"):
        assert all(bool(one.isfinite().all()) for one in load_file(path / "weights.safetensors").values()), path
