"""What one of two real processes has that the other has not: nothing to learn, or a number that is not finite."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from luthier.record.events import Stepped, Warned, read_events
from luthier.train import built
from tests.conftest import World, write_csv, write_jsonl
from tests.processes import Forked
from tests.train.engines.children import tampered
from tests.train.engines.runs import alone, assert_alike, recipe, run, weights

Write = Callable[..., Path]
pytestmark = pytest.mark.slow


def one_sided(world: World, parallel: dict[str, Any]) -> dict[str, Any]:
    """A recipe that learns short questions beside long texts, cut into packs of which some hold no question."""
    long = "Mira lives in the mill and likes it there. " * 14
    rows = []
    for number in range(30):
        question = {"role": "user", "content": f"Where is {number}?"}
        around = [question, {"role": "assistant", "content": long}]
        if number % 2:
            around = [{"role": "system", "content": long}, question, {"role": "assistant", "content": "There."}]
        rows.append({"messages": around})
    data = {
        "train": [{"path": str(write_jsonl(world.root / "one-sided.jsonl", rows))}],
        "train_on": ["user"],
        "max_length": 192,
    }
    sections = {"pack": {"kind": "concatenate", "length": 192}, "checkpoint": {"every": "never"}}
    return recipe(world, data=data, parallel=parallel, **sections)


def test_a_batch_with_nothing_to_learn_neither_hangs_nor_skews(
    parallel: dict[str, Any], world: World, write_recipe: Write, forked: Forked, tmp_path: Path
) -> None:
    tree = one_sided(world, parallel)
    single = {**tree, "batch": {**tree["batch"], "world": 1, "accumulation": 1}}
    packs = [
        one
        for one in read_events(alone(forked, single) / "events.jsonl")
        if isinstance(one, Stepped) and not one.skipped
    ]
    assert any(one.targets == 0 < one.tokens for one in packs), [one.targets for one in packs]
    run(forked, write_recipe(tree), tmp_path / "two", 2)
    assert_alike(alone(forked, tree), tmp_path / "two")


class Broken(torch.autograd.Function):
    """The identity, whose gradient is not finite where it is told so."""

    @staticmethod
    def forward(ctx: Any, given: torch.Tensor, bad: bool) -> torch.Tensor:
        ctx.bad = bad
        return given.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        return grads[0] * (float("inf") if ctx.bad else 1.0), None


def spoiled(cause: str, token: int, held: Path, rank: int) -> None:
    """Let the model spoil the loss or the gradient of batches with a token, and note who has had one."""
    real = built.build_model

    def build(*given: Any, **named: Any) -> Any:
        model = real(*given, **named)
        seen: list[bool] = []

        def look(module: torch.nn.Module, args: Any) -> None:
            seen.append(bool((args[0] == token).any()))
            if seen[-1]:
                with held.open("a") as file:
                    file.write(f"{rank}\n")

        def spoil(module: torch.nn.Module, args: Any, output: torch.Tensor) -> Any:
            if cause == "loss":
                return output * float("nan") if seen[-1] else output
            return Broken.apply(output, seen[-1])  # type: ignore[no-untyped-call]

        model.get_submodule("model.embed_tokens").register_forward_pre_hook(look)
        model.get_submodule("model.layers.1.mlp.down_proj").register_forward_hook(spoil)
        return model

    built.build_model = build


@pytest.mark.parametrize("cause", ["loss", "gradient"])
def test_a_step_that_one_process_cannot_take_is_taken_by_none_and_the_process_is_named(
    cause: str, parallel: dict[str, Any], world: World, write_recipe: Write, tmp_path: Path
) -> None:
    with world.questions.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    line, sign = str(len(rows) + 2), "§"
    questions = write_csv(tmp_path / "questions.csv", [*rows, ("home", f"Where is {sign}?", "Nowhere.")])
    data = {"train": [{"path": str(questions)}]}
    checkpoint = {"every": "never"}
    file = write_recipe(recipe(world, data=data, parallel=parallel, checkpoint=checkpoint, evaluate={"every": "never"}))
    token = AutoTokenizer.from_pretrained(world.model)(sign).input_ids[0]
    for count, name in ((1, "one"), (2, "two")):
        tamper = partial(spoiled, cause, token, tmp_path / f"held-{name}")
        said = tmp_path / f"said-{name}"
        said.mkdir()
        codes = tampered(["train", str(file), f"output.dir={tmp_path / name}"], said, tamper, count)
        assert codes == [0] * count, [path.read_text() for path in said.iterdir()]
    events = list(read_events(tmp_path / "two" / "events.jsonl"))
    skipped = [one.step for one in events if isinstance(one, Stepped) and one.cause == cause]
    assert len(skipped) > 1
    told = [one for one in events if isinstance(one, Warned) and one.step in skipped]
    assert len(told) == len(skipped) and all("was skipped" in one.message for one in told)
    ranks = {found for one in told for found in re.findall(r"of rank (\d)", one.message)}
    assert ranks == set((tmp_path / "held-two").read_text().split())
    assert all(any(one.endswith(f":{line}") for one in warned.rows) for warned in told), told
    assert all("model.layers." in one.message for one in told), told
    one, two = (tmp_path / name for name in ("one", "two"))
    alike(one, two)


def alike(one: Path, two: Path) -> None:
    """The same steps were taken, with the same losses, to the same end."""
    ours, theirs = (
        [event for event in read_events(run / "events.jsonl") if isinstance(event, Stepped)] for run in (one, two)
    )
    assert [event.skipped for event in ours] == [event.skipped for event in theirs]
    losses = ([event.loss for event in steps] for steps in (ours, theirs))
    torch.testing.assert_close(*map(torch.tensor, losses), rtol=1e-5, atol=1e-5, equal_nan=True)
    for name, tensor in weights(one).items():
        torch.testing.assert_close(tensor, weights(two)[name], rtol=1e-4, atol=1e-5)
