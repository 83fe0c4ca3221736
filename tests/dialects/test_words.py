"""``section.field=value`` words laid over plain values."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.dialects.words import PLACE, lay_over
from luthier.errors import RecipeError


def test_words_set_values_and_make_the_sections_they_need() -> None:
    tree: dict[str, Any] = {"optimizer": {"lr": 1, "kind": "sgd"}, "runtime": None}
    given = lay_over(tree, ["optimizer.lr=2e-5", "runtime.kernels.liger=on", "seed=3"])
    assert tree == {"optimizer": {"lr": 2e-5, "kind": "sgd"}, "runtime": {"kernels": {"liger": "on"}}, "seed": 3}
    assert given == {
        ("optimizer", "lr"): "optimizer.lr=2e-5",
        ("runtime", "kernels", "liger"): "runtime.kernels.liger=on",
        ("seed",): "seed=3",
    }


def test_a_number_in_a_word_is_a_place_in_a_list() -> None:
    tree: dict[str, Any] = {"data": {"train": [{"path": "a"}, {"path": "b"}]}}
    lay_over(tree, ["data.train.1.path=c", "data.train.0.rows=5"])
    assert tree == {"data": {"train": [{"path": "a", "rows": 5}, {"path": "c"}]}}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a.b=", None),
        ("a.b=x=y", "x=y"),
        ("a.b= spaced ", "spaced"),
        ("a.b=[1, two]", [1, "two"]),
        ("a.b={c: 1}", {"c": 1}),
        ("a.b=on", "on"),
        ("a.b='5'", "5"),
    ],
)
def test_what_follows_the_equals_sign_is_yaml(word: str, value: Any) -> None:
    tree: dict[str, Any] = {}
    lay_over(tree, [word])
    assert tree == {"a": {"b": value}}


def test_the_last_word_wins() -> None:
    tree: dict[str, Any] = {}
    lay_over(tree, ["seed=1", "seed=2"])
    assert tree == {"seed": 2}


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("optimizer.lr", "is not section.field=value"),
        ("=5", "is not section.field=value"),
        ("", "is not section.field=value"),
        ("seed.deeper=1", "does not lead to a setting"),
        ("name.0.x=1", "does not lead to a setting"),
        ("data.train.1.path=x", "does not lead to a setting"),
        ("data.train.1=x", "does not lead to a setting"),
        ("data.train.first.path=x", "does not lead to a setting"),
        ("data.train.²=x", "does not lead to a setting"),
        ("optimizer.lr=[1", "is not YAML"),
        ("optimizer.lr=!!python/name:os.system x", "is not allowed"),
        ("model.path=\udcff", "is not YAML"),
    ],
)
def test_a_word_that_leads_nowhere_is_refused_by_name(word: str, reason: str) -> None:
    tree: dict[str, Any] = {"seed": 1, "name": "text", "data": {"train": [{"path": "a"}]}}
    with pytest.raises(RecipeError) as caught:
        lay_over(tree, [word])
    [fault] = caught.value.faults
    assert fault.place == PLACE == "the command line"
    assert reason in fault.reason and repr(word)[1:-1].partition("=")[0] in fault.reason


def test_all_faults_of_all_words_are_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        lay_over({}, ["one", "a.b=1", "two=[", "three"])
    assert [fault.reason[:7] for fault in caught.value.faults] == ["'one' i", "'two=['", "'three'"]
