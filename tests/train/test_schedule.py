"""Learning rates are those of transformers' own schedules."""

from __future__ import annotations

import importlib
import json
import math
from typing import Any

import pytest
import torch
from transformers import get_scheduler

from luthier.environment import choose_deepspeed_device
from luthier.errors import RecipeError, RunError
from luthier.recipe import Recipe
from luthier.recipe.schedule import FOLLOWING, WHOLE
from luthier.registry import names
from luthier.train import following
from luthier.train.schedule import Place, learning_rates, warmup_steps
from luthier.train.schedule_constants import CONSTANTS
from luthier.train.whole_rates import momentum_of, put_momentum
from luthier.train.work import Progress

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
    others = {"rex", *WHOLE, *FOLLOWING}
    assert {one[0] for one in SAME} | others == set(names("schedules")) == set(CONSTANTS)


@pytest.mark.parametrize(
    ("constants", "warm"),
    [
        *(({}, warm) for warm in (0, 2, 10)),
        ({"div_factor": 10.0, "final_div_factor": 100.0, "anneal_strategy": "linear"}, 10),
        ({"three_phase": True, "base_momentum": 0.8, "max_momentum": 0.9}, 2),
        ({"three_phase": True}, 10),
        ({"cycle_momentum": False}, 10),
    ],
    ids=str,
)
@pytest.mark.parametrize("cls", [torch.optim.AdamW, torch.optim.SGD])
def test_one_cycle_is_torchs_its_momentum_too(
    constants: dict[str, Any], warm: int, cls: type[torch.optim.Optimizer]
) -> None:
    theirs, ours = (cls([torch.nn.Parameter(torch.zeros(1))], lr=PEAK) for _ in range(2))  # type: ignore[call-arg]
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        theirs, max_lr=PEAK, total_steps=TOTAL, pct_start=warm / TOTAL, **constants
    )
    made = recipe("one_cycle", warmup_steps=warm, args=constants)
    rate, momentum = learning_rates(made, TOTAL), momentum_of(made.schedule, TOTAL, warm)
    assert (momentum is None) is (constants.get("cycle_momentum") is False)
    for step in range(TOTAL):
        if momentum is not None:
            put_momentum(ours, momentum(step))
        mine, other = ours.param_groups[0], theirs.param_groups[0]
        assert rate(step) == pytest.approx(other["lr"], rel=1e-9, abs=1e-12)
        assert mine.get("betas", mine.get("momentum")) == pytest.approx(other.get("betas", other.get("momentum")))
        theirs.step()
        if step < TOTAL - 1:
            scheduler.step()


def test_one_cycle_of_one_step_of_warm_up_begins_at_the_peak() -> None:
    """PyTorch divides by zero here."""
    rate = learning_rates(recipe("one_cycle", warmup_steps=1), TOTAL)
    assert rate(0) == pytest.approx(PEAK) and rate(TOTAL - 1) == pytest.approx(PEAK / 25 / 1e4)


def test_a_sweep_goes_up_in_equal_factors() -> None:
    rate = learning_rates(recipe("log_sweep", warmup_steps=11, args={"min_lr": 1e-6, "max_lr": 1e-4}), TOTAL)
    factor = 100 ** (1 / 10)
    assert [rate(step) for step in range(11)] == pytest.approx([1e-6, *(1e-6 * factor**n for n in range(10))])
    assert rate(11) == rate(39) == 1e-4
    usual = learning_rates(recipe("log_sweep", warmup_steps=3), TOTAL)
    assert (usual(0), usual(3)) == (1e-10, 10.0)


EVALUATED = [9.0, 7.0, 7.0, 7.1, 7.0, 6.0, 5.0, 4.0, 3.0, 3.5, 3.4, 3.5, 3.4, float("nan"), 3.4, 2.0, 3.0, 3.0]

FOLLOWED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("reduce_lr_on_plateau", {"args": {"patience": 1}}, {"patience": 1}),
    (
        "reduce_lr_on_plateau",
        {
            "minimum": 0.3,
            "args": {"patience": 0, "factor": 0.5, "cooldown": 1, "threshold": 0.5, "threshold_mode": "abs"},
        },
        {"min_lr": 0.03, "patience": 0, "factor": 0.5, "cooldown": 1, "threshold": 0.5, "threshold_mode": "abs"},
    ),
    ("reduce_lr_on_plateau", {"args": {"patience": 1, "mode": "max"}}, {"patience": 1, "mode": "max"}),
    *(
        ("greedy", {"args": constants}, constants)
        for constants in (
            {"patience": 1, "min_lr": 0.01, "factor": 0.5},
            {"patience": 0, "min_lr": 0.06, "max_lr": 0.15, "factor": 0.8, "reset_start": 1, "warmup": 1},
            {"patience": 1, "min_lr": 0.01, "smooth": True, "window_size": 3, "mode": "max"},
        )
    ),
]


@pytest.mark.parametrize(("kind", "settings", "constants"), FOLLOWED, ids=str)
def test_a_rate_that_goes_by_evaluations_is_transformers_and_goes_on_as_it_was(
    kind: str, settings: dict[str, Any], constants: dict[str, Any]
) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = get_scheduler(kind, optimizer, scheduler_specific_kwargs=constants)
    made = recipe(kind, warmup_steps=0, **settings)
    rate, seen = learning_rates(made, TOTAL), set()
    for step, value in enumerate(EVALUATED):
        assert rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        seen.add(rate(step))
        scheduler.step(value)
        progress = Progress(step=step)
        following.tell(rate, {"loss": value}, "loss", progress)
        kept = Progress(extra=json.loads(json.dumps(progress.extra)))
        rate = learning_rates(made, TOTAL)
        following.go_on(rate, kept)
    assert len(seen) > 2


def test_a_rate_that_goes_by_evaluations_has_a_warm_up_where_it_is_asked_for() -> None:
    made = recipe("reduce_lr_on_plateau", warmup_steps=4, args={"patience": 0, "factor": 0.5})
    rate = learning_rates(made, TOTAL)
    assert [rate(step) / PEAK for step in range(5)] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    for value in (1.0, 1.0):
        following.tell(rate, {"loss": value}, "loss", Progress())
    assert [rate(step) / PEAK for step in (2, 4, 39)] == pytest.approx([0.25, 0.5, 0.5])


def test_what_is_evaluated_has_to_hold_what_the_rate_goes_by() -> None:
    rate = learning_rates(recipe("greedy"), TOTAL)
    with pytest.raises(RunError, match="accuracy is not among"):
        following.tell(rate, {"loss": 1.0}, "accuracy", Progress())
    following.tell(learning_rates(recipe("cosine"), TOTAL), {"loss": 1.0}, "accuracy", Progress())


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


def test_a_warm_up_longer_than_the_run_is_not_cut_as_transformers_does_not() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = get_scheduler("cosine", optimizer, 100, TOTAL)
    rate = learning_rates(recipe("cosine", warmup_steps=100), TOTAL)
    for step in range(TOTAL):
        assert rate(step) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        scheduler.step()
    assert rate(TOTAL - 1) < 0.4 * PEAK


DEEPSPEEDS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("warmup_lr", "WarmupLR", {"warmup_from": 0.2}, {"warmup_min_lr": 0.02, "warmup_max_lr": PEAK}),
    ("warmup_decay_lr", "WarmupDecayLR", {"warmup_from": 0.2}, {"warmup_min_lr": 0.02, "warmup_max_lr": PEAK}),
    (
        "warmup_cosine_lr",
        "WarmupCosineLR",
        {"warmup_from": 0.3, "minimum": 0.1},
        {"warmup_min_ratio": 0.3, "cos_min_ratio": 0.1},
    ),
]


@pytest.mark.parametrize("rise", ["log", "linear"])
@pytest.mark.parametrize("warm", [1, 2, 7, 100])
@pytest.mark.parametrize(("ours", "theirs", "settings", "constants"), DEEPSPEEDS)
def test_deepspeeds_schedules_are_its_own_step_by_step(
    ours: str, theirs: str, settings: dict[str, Any], constants: dict[str, Any], warm: int, rise: str
) -> None:
    pytest.importorskip("deepspeed")
    choose_deepspeed_device("cpu")
    schedules = importlib.import_module("deepspeed.runtime.lr_schedules")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    if theirs != "WarmupLR":
        constants = {**constants, "total_num_steps": TOTAL}
    scheduler = getattr(schedules, theirs)(optimizer, warmup_num_steps=warm, warmup_type=rise, **constants)
    rate = learning_rates(recipe(ours, warmup=rise, warmup_steps=warm, **settings), TOTAL)
    for step in range(TOTAL):
        assert rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("kind", sorted(set(CONSTANTS) - {"constant", "inverse_sqrt", *WHOLE, *FOLLOWING}))
def test_the_minimum_is_where_the_curve_ends(kind: str) -> None:
    cycles = 1.0 if kind == "cosine_with_restarts" else 0.5
    rate = learning_rates(recipe(kind, warmup_steps=0, minimum=0.1, cycles=cycles), 10)
    assert rate(0) == pytest.approx(PEAK, rel=0.03)
    assert rate(10) == pytest.approx(0.01, rel=0.3)


def test_a_run_that_is_all_warm_up_has_a_rate_at_its_end() -> None:
    for kind in set(CONSTANTS) - {"log_sweep"}:
        assert 0 <= learning_rates(recipe(kind, warmup_steps=TOTAL), TOTAL)(TOTAL) <= PEAK


@pytest.mark.parametrize(
    ("kind", "args", "place"),
    [
        ("cosine", {"timescale": 3}, "schedule.args.timescale"),
        ("inverse_sqrt", {"timescale": "long"}, "schedule.args.timescale"),
        ("rex", {"beta": 1.5}, "schedule.args.beta"),
        ("warmup_stable_decay", {"decay_type": ["linear"]}, "schedule.args.decay_type"),
        ("one_cycle", {"cycle_momentum": 1}, "schedule.args.cycle_momentum"),
        ("log_sweep", {"min_lr": 0}, "schedule.args.min_lr"),
        ("greedy", {"factor": 1.0}, "schedule.args.factor"),
        ("reduce_lr_on_plateau", {"mode": "least"}, "schedule.args.mode"),
    ],
)
def test_constants_that_a_curve_has_not_are_refused(kind: str, args: dict[str, Any], place: str) -> None:
    with pytest.raises(RecipeError) as caught:
        learning_rates(recipe(kind, args=args), TOTAL)
    assert caught.value.faults[0].place == place and caught.value.faults[0].remedy


def test_the_place_after_warm_up() -> None:
    assert [Place(step, 4, 2).done for step in (0, 1, 4, 9)] == [0, 0.25, 1, 1]
