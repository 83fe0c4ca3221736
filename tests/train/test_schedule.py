"""Learning rates are those of transformers' own schedules."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from transformers import get_scheduler

from luthier.errors import RecipeError
from luthier.recipe import Recipe
from luthier.registry import names
from luthier.train.schedule import CONSTANTS, Place, learning_rates, warmup_steps

PEAK, TOTAL = 0.1, 40


def recipe(kind: str, **schedule: object) -> Recipe:
    return Recipe.model_validate_json(json.dumps({"schedule": {"kind": kind, **schedule}, "optimizer": {"lr": PEAK}}))


SAME: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("cosine", {}, "cosine", {}),
    ("cosine", {"cycles": 1.5}, "cosine", {"num_cycles": 1.5}),
    ("cosine", {"minimum": 0.2}, "cosine_with_min_lr", {"min_lr_rate": 0.2}),
    ("cosine", {"minimum": 0.2}, "cosine_with_min_lr", {"min_lr": 0.02}),
    ("linear", {}, "linear", {}),
    ("constant", {}, "constant_with_warmup", {}),
    ("cosine_with_restarts", {"cycles": 1}, "cosine_with_restarts", {}),
    ("cosine_with_restarts", {"cycles": 3}, "cosine_with_restarts", {"num_cycles": 3}),
    ("polynomial", {"minimum": 1e-6}, "polynomial", {}),
    ("polynomial", {"minimum": 0.3, "power": 2.5}, "polynomial", {"lr_end": 0.03, "power": 2.5}),
    ("inverse_sqrt", {}, "inverse_sqrt", {}),
    ("inverse_sqrt", {"args": {"timescale": 5}}, "inverse_sqrt", {"timescale": 5}),
    ("cosine_warmup_with_min_lr", {"minimum": 0.2}, "cosine_warmup_with_min_lr", {"min_lr_rate": 0.2}),
    (
        "cosine_warmup_with_min_lr",
        {"args": {"warmup_lr_rate": 0.3}},
        "cosine_warmup_with_min_lr",
        {"min_lr_rate": 0, "warmup_lr_rate": 0.3},
    ),
    ("warmup_stable_decay", {"decay": 12}, "warmup_stable_decay", {"num_decay_steps": 12}),
    ("warmup_stable_decay", {"decay": 0.3}, "warmup_stable_decay", {"num_decay_steps": 12}),
    (
        "warmup_stable_decay",
        {"decay": 8, "stable": 10, "minimum": 0.2, "warmup_from": 0.2, "warmup": "cosine", "cycles": 0.25},
        "warmup_stable_decay",
        {
            "num_decay_steps": 8,
            "num_stable_steps": 10,
            "min_lr_ratio": 0.2,
            "warmup_type": "cosine",
            "num_cycles": 0.25,
        },
    ),
    *(
        (
            "warmup_stable_decay",
            {"decay": 9, "args": {"decay_type": fall}, "warmup": "1-sqrt"},
            "warmup_stable_decay",
            {"num_decay_steps": 9, "decay_type": fall, "warmup_type": "1-sqrt"},
        )
        for fall in ("linear", "cosine", "1-sqrt")
    ),
]


@pytest.mark.filterwarnings("ignore:Both num_training_steps and num_stable_steps")
@pytest.mark.parametrize("warm", [0, 1, 7])
@pytest.mark.parametrize(("ours", "settings", "theirs", "constants"), SAME)
def test_rates_equal_transformers(
    ours: str, settings: dict[str, Any], theirs: str, constants: dict[str, Any], warm: int
) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = get_scheduler(theirs, optimizer, warm, TOTAL, scheduler_specific_kwargs=constants)
    rate = learning_rates(recipe(ours, warmup_steps=warm, **settings), TOTAL)
    for step in range(TOTAL):
        assert rate(step) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        scheduler.step()


def test_every_curve_of_the_registry_is_compared_and_says_what_it_takes() -> None:
    assert {one[0] for one in SAME} | {"rex"} == set(names("schedules")) == set(CONSTANTS)


@pytest.mark.parametrize("beta", [None, 0.9])
def test_rex_is_the_reflected_exponential(beta: float | None) -> None:
    """Its two forms: the paper's (1 - t) / (1/2 + 1/2 (1 - t)), and the one with 0.1 and 0.9."""
    rate = learning_rates(recipe("rex", warmup_steps=0, args={} if beta is None else {"beta": beta}), TOTAL)
    share = 0.5 if beta is None else beta
    for step in range(TOTAL):
        left = 1 - step / TOTAL
        assert rate(step) == pytest.approx(PEAK * left / ((1 - share) + share * left))
    assert rate(TOTAL) == 0


@pytest.mark.parametrize("lowest", [0.0, 0.2])
def test_a_logarithmic_warm_up_is_deepspeeds(lowest: float) -> None:
    rate = learning_rates(recipe("constant", warmup="log", warmup_steps=10, warmup_from=lowest), TOTAL)
    assert rate(0) == pytest.approx(lowest * PEAK)
    for step in range(10):
        share = math.log(step + 1) / math.log(10)
        assert rate(step) == pytest.approx(PEAK * (lowest + (1 - lowest) * share))
    assert rate(9) == rate(10) == rate(39) == pytest.approx(PEAK)
    assert learning_rates(recipe("constant", warmup="log", warmup_steps=1), TOTAL)(0) == 0


def test_a_share_of_warm_up_is_rounded_up() -> None:
    assert warmup_steps(recipe("cosine", warmup_share=0.03).schedule, 101) == 4
    assert warmup_steps(recipe("cosine", warmup_steps=5, warmup_share=0.5).schedule, 101) == 5
    assert warmup_steps(recipe("cosine", warmup_steps=500).schedule, 101) == 101


@pytest.mark.parametrize("kind", sorted(set(CONSTANTS) - {"constant", "inverse_sqrt"}))
def test_the_minimum_is_where_the_curve_ends(kind: str) -> None:
    cycles = 1.0 if kind == "cosine_with_restarts" else 0.5
    rate = learning_rates(recipe(kind, warmup_steps=0, minimum=0.1, cycles=cycles), 10)
    assert rate(0) == pytest.approx(PEAK, rel=0.03)
    assert rate(10) == pytest.approx(0.01, rel=0.3)


def test_a_run_that_is_all_warm_up_has_a_rate_at_its_end() -> None:
    for kind in CONSTANTS:
        assert 0 <= learning_rates(recipe(kind, warmup_steps=TOTAL), TOTAL)(TOTAL) <= PEAK


@pytest.mark.parametrize(
    ("kind", "args", "place"),
    [
        ("cosine", {"timescale": 3}, "schedule.args.timescale"),
        ("inverse_sqrt", {"timescale": "long"}, "schedule.args.timescale"),
        ("rex", {"beta": 1.5}, "schedule.args.beta"),
        ("warmup_stable_decay", {"decay_type": ["linear"]}, "schedule.args.decay_type"),
    ],
)
def test_constants_that_a_curve_has_not_are_refused(kind: str, args: dict[str, Any], place: str) -> None:
    with pytest.raises(RecipeError) as caught:
        learning_rates(recipe(kind, args=args), TOTAL)
    assert caught.value.faults[0].place == place and caught.value.faults[0].remedy


def test_the_place_after_warm_up() -> None:
    assert [Place(step, 4, 2).done for step in (0, 1, 4, 9)] == [0, 0.25, 1, 1]
