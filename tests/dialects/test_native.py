"""Luthier's own recipes, and the account of every key in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.dialects import Account, Outcome, Reading, read
from luthier.dialects.document import load_yaml
from luthier.dialects.native import NATIVE
from luthier.errors import RecipeError

RECIPE = """\
# a comment
model:
  path: some/model
adapter: {kind: lora, rank: 8, targets: [q_proj, v_proj]}
data:
  train:
  - path: a.jsonl
    columns: {human: question}
  - path: b.jsonl
  test: [{path: t.jsonl}]
batch:
  epochs: 3
  steps: 100
optimizer: {args: {}}
track: {project: mine}
"""


def reading_of(text: str, *words: str) -> Reading:
    return NATIVE.read(text, "r.yaml", words)


def by_key(reading: Reading) -> dict[str, Account]:
    accounts = {account.key: account for account in reading.accounts}
    assert len(accounts) == len(reading.accounts), "each key once"
    return accounts


def value_at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[int(part) if isinstance(tree, list) else part]
    return tree


def test_accounts_add_up_to_the_files_keys() -> None:
    reading = reading_of(RECIPE)
    written = {".".join(map(str, path)): value for path, value in load_yaml(RECIPE, "r.yaml").leaves()}
    assert {key: account.value for key, account in by_key(reading).items()} == written
    assert len(written) == 12


def test_an_applied_key_names_its_place_and_reaches_the_recipe() -> None:
    reading = reading_of(RECIPE)
    accounts = by_key(reading)
    assert accounts["data.train.1.path"] == Account(
        "data.train.1.path", "b.jsonl", "r.yaml:9", Outcome.APPLIED, target="data.train.1.path"
    )
    tree = reading.recipe.tree()
    for account in reading.accounts:
        assert value_at(tree, account.target) == account.value


@pytest.mark.parametrize(
    ("key", "note"),
    [
        ("batch.epochs", "batch.steps wins"),
        ("data.test.0.path", "evaluate.generate is off"),
        ("track.project", "no tracker is told"),
    ],
)
def test_an_inert_key_says_why(key: str, note: str) -> None:
    account = by_key(reading_of(RECIPE))[key]
    assert account.outcome is Outcome.INERT and account.note == note


def test_keys_that_matter_are_applied() -> None:
    outcomes = {key: account.outcome for key, account in by_key(reading_of(RECIPE)).items()}
    assert {key for key, outcome in outcomes.items() if outcome is Outcome.INERT} == {
        "batch.epochs",
        "data.test.0.path",
        "track.project",
    }
    assert set(outcomes.values()) == {Outcome.APPLIED, Outcome.INERT}


def test_a_word_wins_over_the_file_and_is_accounted_for_at_the_command_line() -> None:
    reading = reading_of(RECIPE, "adapter.rank=4", "optimizer.lr=3e-4")
    assert reading.recipe.adapter.rank == 4 and reading.recipe.optimizer.lr == 3e-4
    accounts = by_key(reading)
    assert (accounts["adapter.rank"].value, accounts["adapter.rank"].place) == (4, "the command line")
    assert (accounts["optimizer.lr"].value, accounts["optimizer.lr"].place) == (3e-4, "the command line")
    assert accounts["adapter.kind"].place == "r.yaml:4"
    assert len(accounts) == 13


def test_a_word_reaches_into_a_list() -> None:
    reading = reading_of(RECIPE, "data.train.0.path=c.jsonl")
    assert [source.path for source in reading.recipe.data.train] == ["c.jsonl", "b.jsonl"]
    accounts = by_key(reading)
    assert accounts["data.train.0.path"].place == "the command line"
    assert accounts["data.train.1.path"].place == "r.yaml:9"


def test_a_word_above_keys_of_the_file_replaces_them_and_none_is_lost() -> None:
    reading = reading_of(RECIPE, "data.train=[{path: c.jsonl}]")
    assert [source.path for source in reading.recipe.data.train] == ["c.jsonl"]
    accounts = by_key(reading)
    assert accounts["data.train.1.path"] == Account(
        "data.train.1.path",
        "b.jsonl",
        "r.yaml:9",
        Outcome.REPLACED,
        target="data.train",
        note="data.train on the command line wins",
    )
    assert accounts["data.train"].value == [{"path": "c.jsonl"}]
    assert accounts["data.test.0.path"].outcome is Outcome.INERT
    assert len(accounts) == 13


def test_the_account_of_the_file_shows_what_the_file_says_beside_a_deeper_word() -> None:
    accounts = by_key(reading_of(RECIPE, "optimizer.args.momentum=0.9"))
    assert accounts["optimizer.args"].value == {}
    assert accounts["optimizer.args.momentum"].value == 0.9


def test_a_fault_of_a_word_is_placed_at_the_command_line() -> None:
    with pytest.raises(RecipeError) as caught:
        reading_of(RECIPE, "adapter.rank=-4", "optimizer.lrr=1", "data.train=[{pth: x}]")
    placed = {fault.reason.partition(":")[0].partition(" ")[0]: fault.place for fault in caught.value.faults}
    assert placed == dict.fromkeys(
        ["adapter.rank", "data.train.0.path", "data.train.0.pth", "optimizer.lrr"], "the command line"
    )


def test_a_word_can_mend_a_fault_of_the_file() -> None:
    assert reading_of(RECIPE.replace("rank: 8", "rank: x"), "adapter.rank=8").recipe.adapter.rank == 8


def test_a_file_with_faults_is_refused_with_all_of_them() -> None:
    with pytest.raises(RecipeError) as caught:
        reading_of("modell: {path: x}\nseed: x\nbatch:\n  micro: 0\n")
    assert [fault.place for fault in caught.value.faults] == ["r.yaml:4", "r.yaml:2", "r.yaml:1"]


@pytest.mark.parametrize("text", ["- model\n", "just words\n", "5\n", "[{model: {}}]\n"])
def test_a_file_without_settings_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="does not hold settings"):
        reading_of(text)


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}\n"])
def test_an_empty_file_can_be_filled_by_words(text: str) -> None:
    reading = reading_of(text, "model.path=m", "data.train=[{path: a}]")
    assert reading.recipe.model.path == "m"
    with pytest.raises(RecipeError, match="no model is named"):
        reading_of(text)


@pytest.mark.parametrize(
    ("text", "ours"), [(RECIPE, True), ("{}", True), ("model_name_or_path: x\n", False), ("- a\n", False), ("", False)]
)
def test_our_own_files_are_recognised_by_their_sections(text: str, ours: bool) -> None:
    assert NATIVE.recognises(load_yaml(text, "f")) is ours


def test_refusals_are_the_refused_accounts_alone() -> None:
    recipe = reading_of(RECIPE).recipe
    accounts = (
        Account("a", 1, "f:1", Outcome.APPLIED, "seed"),
        Account("b", 2, "f:2", Outcome.REFUSED, note="no such thing; write c"),
    )
    [fault] = Reading("other", "f", recipe, accounts).refusals()
    assert str(fault) == "f:2: b: no such thing; write c"


def test_a_file_is_read_from_disk_with_words_and_named_dialect(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE)
    reading = read(path, ["seed=5"], dialect="luthier")
    assert (reading.dialect, reading.source, reading.recipe.seed) == ("luthier", str(path), 5)
    with pytest.raises(RecipeError, match="not one of the dialects"):
        read(path, dialect="nobody")


def test_the_tree_of_a_reading_is_plain_json() -> None:
    tree = reading_of(RECIPE).tree()
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    assert list(tree) == ["dialect", "recipe", "accounts"]
    assert list(tree["accounts"][0]) == ["key", "value", "place", "outcome", "target", "note"]
