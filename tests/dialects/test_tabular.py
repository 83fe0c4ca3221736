"""Any dialect that is a table: each key finds its row, each row leaves an account."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.dialects.reading import Account, Outcome, Reading
from luthier.dialects.table import (
    Cannot,
    Default,
    Effect,
    Gather,
    Inert,
    Key,
    Refused,
    Spread,
    Values,
    applied,
    replaced,
)
from luthier.dialects.tabular import TableDialect
from luthier.errors import RecipeError

FILE = """\
rate: 2e-5
base: some/model
mode: packed
save: steps
save_every: 0
tpu: null
typo_rte: 3
lora: {r: 8}
extra: {a: 1, b: 2}
sources:
  - {where: a.csv, kind: alpaca}
  - {where: b.csv}
forbidden: true
"""


def number(value: Any) -> float:
    return float(value)


def mode(value: Any, values: Values) -> Effect:
    if value == "packed":
        return replaced({"pack.kind": "best_fit"}, "it leaked then; here documents are isolated")
    raise Cannot(f"{value!r} is no mode", "write packed")


def saving(values: Values) -> Effect:
    every = values.get("save_every")
    return applied({"checkpoint.every": every or "never"}, "0 meant never")


def epochs(value: Any) -> float:
    if not value:
        raise Cannot("no epochs", "write 1")
    return float(value)


DIALECT = TableDialect(
    name="toy",
    rows=(
        Key("rate", "optimizer.lr", number, old=("learning",)),
        Key("base", "model.path"),
        Key("epochs", "batch.epochs", epochs),
        Spread("mode", ("pack.kind",), mode),
        Gather("save", ("checkpoint.every",), saving),
        Gather("save_every", ("checkpoint.every",), saving),
        Inert("tpu", "there are no TPUs here", only=(None, 0), remedy="remove it"),
        Key("lora.r", "adapter.rank"),
        Key("extra", "optimizer.args", whole=True),
        Key("sources.*.where", "data.train.*.path"),
        Key("sources.*.kind", "data.train.*.format"),
        Refused("forbidden", "it cannot be had", "leave it out"),
    ),
    defaults=(
        Default("rate", 1e-3, {"optimizer.lr": 1e-3}),
        Default("epochs", 3, {"batch.epochs": 3.0}, "three times over"),
        Default("quiet", True, {"runtime.progress": False}, when=lambda values: "loud" not in values),
    ),
)


def read(text: str = FILE, *words: str) -> Reading:
    return DIALECT.read(text, "toy.yml", words)


def account(key: str, reading: Reading | None = None) -> Account:
    (found,) = [one for one in (reading or read()).accounts if one.key == key]
    return found


def test_accounts_add_up_to_the_files_keys() -> None:
    keys = [one.key for one in read().accounts if one.outcome is not Outcome.DEFAULT]
    assert keys == [
        "rate", "base", "mode", "save", "save_every", "tpu", "typo_rte", "lora.r", "extra",
        "sources.0.where", "sources.0.kind", "sources.1.where", "forbidden",
    ]  # fmt: skip


def test_settings_reach_the_recipe() -> None:
    recipe = read().recipe
    assert recipe.optimizer.lr == 2e-5
    assert recipe.model.path == "some/model"
    assert recipe.pack.kind == "best_fit"
    assert recipe.checkpoint.every == "never"
    assert recipe.optimizer.args == {"a": 1, "b": 2}
    assert [(source.path, source.format) for source in recipe.data.train] == [("a.csv", "alpaca"), ("b.csv", "auto")]


@pytest.mark.parametrize(
    ("key", "outcome", "target", "said"),
    [
        ("rate", Outcome.APPLIED, "optimizer.lr", ""),
        ("mode", Outcome.REPLACED, "pack.kind", "leaked then"),
        ("save_every", Outcome.APPLIED, "checkpoint.every", "0 meant never"),
        ("tpu", Outcome.INERT, "", "no TPUs"),
        ("typo_rte", Outcome.INERT, "", "not a key of toy"),
        ("lora.r", Outcome.INERT, "adapter.rank", "adapter.kind is none"),
        ("sources.1.where", Outcome.APPLIED, "data.train.1.path", ""),
        ("forbidden", Outcome.REFUSED, "", "it cannot be had; leave it out"),
    ],
)
def test_each_outcome_says_where_it_went_and_why(key: str, outcome: Outcome, target: str, said: str) -> None:
    found = account(key)
    assert (found.outcome, found.target) == (outcome, target)
    assert said in found.note


def test_places_are_the_files_lines() -> None:
    assert account("save_every").place == "toy.yml:5"
    assert account("sources.1.where").place == "toy.yml:12"


def test_silence_is_accounted_for_unless_a_key_speaks() -> None:
    defaults = [one for one in read().accounts if one.outcome is Outcome.DEFAULT]
    assert [(one.key, one.target) for one in defaults] == [("epochs", "batch.epochs"), ("quiet", "runtime.progress")]
    assert read().recipe.batch.epochs == 3
    assert [one.key for one in read("epochs: 2\nloud: 1\n").accounts if one.outcome is Outcome.DEFAULT] == ["rate"]


def test_an_older_name_is_the_same_key() -> None:
    assert read("learning: 5e-4\n").recipe.optimizer.lr == 5e-4


def test_a_null_leaves_the_default() -> None:
    reading = read("rate: null\n")
    assert reading.recipe.optimizer.lr == 1e-3
    assert [one.outcome for one in reading.accounts if one.key == "rate"] == [Outcome.INERT, Outcome.DEFAULT]


def test_a_typo_is_told_with_the_nearest_key() -> None:
    assert "did you mean rate?" in account("rat", read("rat: 1\n")).note


def test_a_converter_that_cannot_says_what_to_write() -> None:
    assert "no epochs; write 1" in account("epochs", read("epochs: 0\nx: 1\n")).note
    found = [one for one in read("rate: [1]\n").accounts if one.key == "rate" and one.outcome is Outcome.REFUSED]
    assert "not a value that rate takes" in found[0].note


def test_secrets_are_not_shown() -> None:
    assert account("hub_token", read("hub_token: hf_abc\n")).value == "<redacted>"
    assert account("pad_token", read("pad_token: x\n")).value == "x"


def test_two_keys_on_one_line_may_not_contradict_one_another_either() -> None:
    reading = read("{rate: 1e-4, learning: 1e-5}\n")
    assert [one.outcome for one in reading.accounts][:2] == [Outcome.APPLIED, Outcome.REFUSED]


def test_two_keys_that_contradict_one_another_are_refused() -> None:
    reading = read("rate: 1e-4\nlearning: 1e-5\n")
    assert [one.outcome for one in reading.accounts][:2] == [Outcome.APPLIED, Outcome.REFUSED]
    assert "toy.yml:1 says 0.0001" in reading.accounts[1].note


def test_a_value_out_of_its_settings_range_is_placed_at_the_users_key() -> None:
    with pytest.raises(RecipeError, match=r"toy.yml:2: optimizer.lr"):
        read("base: a/b\nrate: -1\n")


def test_what_the_file_leaves_open_is_a_fault_and_not_an_exception() -> None:
    reading = read("rate: 1e-4\n")
    assert {fault.reason.partition(":")[0] for fault in reading.faults} == {"model", "data.train"}
    assert reading.refusals()[: len(reading.faults)] == reading.faults


def test_words_win_and_are_accounted_for() -> None:
    reading = read(FILE, "optimizer.lr=1", "data.train.1.path=c.csv")
    assert reading.recipe.optimizer.lr == 1
    assert reading.recipe.data.train[1].path == "c.csv"
    assert reading.accounts[-1].place == "the command line"
