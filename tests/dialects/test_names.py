"""Hugging Face's names, however they are written."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.dialects import names
from luthier.dialects.table import Cannot


def test_every_optimiser_and_schedule_of_transformers_is_known_by_name_and_by_value() -> None:
    from transformers import SchedulerType
    from transformers.training_args import OptimizerNames

    for optimizer in OptimizerNames:
        meant = "adamw" if optimizer.value in names.PLAIN_ADAMW else optimizer.value
        assert names.optimizer(optimizer.value) == names.optimizer(f"OptimizerNames.{optimizer.name}") == meant
    for schedule in SchedulerType:
        assert names.schedule(schedule.value) == names.schedule(f"SchedulerType.{schedule.name}") == schedule.value


@pytest.mark.parametrize(
    ("value", "meant"),
    [("IntervalStrategy.EPOCH", "epoch"), ("steps", "steps"), (False, "no"), ("SaveStrategy.BEST", "best")],
)
def test_strategies(value: Any, meant: str) -> None:
    assert names.strategy(value) == meant


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(Cannot, match="did you mean cosine"):
        names.schedule("cosin")
    with pytest.raises(Cannot, match="write one of: no, steps, epoch, best"):
        names.strategy("0000")


@pytest.mark.parametrize(
    ("value", "meant"),
    [("none", []), ("wandb", ["wandb"]), (["comet_ml", "mlflow"], ["comet", "mlflow"]), ([], []), ("all", [])],
)
def test_trackers(value: Any, meant: list[str]) -> None:
    assert names.trackers(value) == meant


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("false", None),
        ("FALSE", None),
        (False, None),
        (None, None),
        ("", None),
        ("true", "end"),
        (True, "end"),
        ("End", "end"),
    ],
)
def test_no_weights_are_uploaded_where_the_word_says_no(value: object, wanted: str | None) -> None:
    assert names.uploaded_weights(value) == wanted


def test_a_word_that_is_none_of_wandbs_is_refused() -> None:
    for convert in (names.watched, names.uploaded_weights):
        with pytest.raises(Cannot, match="foo"):
            convert("foo")
    assert [names.watched(one) for one in ("false", None, "ALL")] == [None, None, "all"]
