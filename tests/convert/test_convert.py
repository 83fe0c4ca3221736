"""A recipe written in a dialect reads there as the list says it does, and no setting is lost without a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luthier.convert import DIALECTS, convert
from luthier.convert.convert import SHEETS
from luthier.convert.differences import differences, purged
from luthier.convert.sheet import said_by, single_keys, value_of
from luthier.dialects.document import load_yaml
from luthier.dialects.read import detect
from luthier.dialects.reading import Outcome, Reading
from luthier.errors import RecipeError
from luthier.recipe import Recipe
from luthier.recipe.validate import parse
from luthier.registry import resolve
from tests.convert.recipes import FILES
from tests.recipe.test_recipe import trees

OTHERS = tuple(SHEETS)


def read(dialect: str, text: str) -> Reading:
    reading: Reading = resolve("dialects", dialect).read(text, "file", ())
    return reading


def own(tree: dict[str, Any]) -> Recipe:
    return parse(tree, lambda path: "here")


def refusals(reading: Reading) -> list[str]:
    return [f"{one.key}: {one.note}" for one in reading.accounts if one.outcome is Outcome.REFUSED]


@pytest.mark.parametrize("name", FILES)
def test_a_file_converted_to_its_own_dialect_is_the_same_recipe(name: str) -> None:
    dialect, text = FILES[name]
    reading = read(dialect, text)
    assert not refusals(reading)
    written = convert(reading.recipe, dialect)
    assert written.missing == ()
    assert read(dialect, written.text).recipe == reading.recipe
    assert detect(written.text, "file") == dialect


@pytest.mark.parametrize("to", DIALECTS)
@pytest.mark.parametrize("name", FILES)
def test_every_file_reads_in_every_dialect_and_the_list_holds_the_differences(name: str, to: str) -> None:
    wanted = read(*FILES[name]).recipe
    written = convert(wanted, to)
    assert written.dialect == to
    if to == "luthier":
        assert own(load_yaml(written.text, "again").value) == wanted and written.missing == ()
        return
    again = read(to, written.text)
    assert not refusals(again)
    assert all(account.known or account.value == {} for account in again.accounts)
    listed = {one.setting: (one.value, one.means) for one in written.missing}
    assert {one.setting: (one.wanted, one.found) for one in differences(wanted, again.recipe)} == listed
    assert all(one.why for one in written.missing)


CARRIED = [
    (name, to, setting)
    for to, left_out in {
        "axolotl": (),
        "firefly": (),
        "chatglm3": ("model.path",),
        "peft_sft": (),
        "training_arguments": ("model.path", "data.train.0.path", "data.max_length"),
    }.items()
    for name in FILES
    for setting in ("model.path", "data.train.0.path", "data.max_length", "optimizer.lr", "batch.epochs", "seed")
    if setting not in left_out
]


@pytest.mark.parametrize(("name", "to", "setting"), CARRIED)
def test_what_every_dialect_can_say_is_carried_over(name: str, to: str, setting: str) -> None:
    """The list would be honest about an empty file too; these settings must not be in it."""
    wanted = read(*FILES[name]).recipe
    lost = {one.setting for one in convert(wanted, to).missing if one.value is not None}
    assert setting not in lost and ("data.train.0" not in lost or to == "training_arguments")


def other(setting: str, value: Any) -> list[Any]:
    """Values that the setting might also have."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value / 2, value * 2, 0.5, 32]
    if isinstance(value, list):
        return [["one", "two"], ["assistant", "user", "system", "tool"], [{"path": "rows.jsonl"}]]
    if isinstance(value, dict):
        return [{"one": 2}, {"one": "two"}]
    words = ("bf16", "gaussian", "all", "fp4", "on", "error", "checkpoint", "truncate", "pretrain", "probability")
    return [*words, "a-name", 3, 0.25, True, False, ["q_proj"]]


def single_settings() -> list[tuple[str, str]]:
    """(dialect, setting) of every key that says one setting, where a setting of the recipe is meant."""
    known = set(_settings((), Recipe().tree()))
    return [
        (dialect, target)
        for dialect in OTHERS
        for target in dict.fromkeys(row.target for row in single_keys(resolve("dialects", dialect).rows))
        if target in known
    ]


def _settings(path: tuple[str, ...], value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        return [one for key, inner in value.items() for one in _settings((*path, key), inner)]
    return [".".join(path)]


NEEDS: dict[str, dict[str, Any]] = {
    "quantise": {"quantise": {"bits": 4}, "adapter": {"kind": "lora"}},
    "adapter": {"adapter": {"kind": "lora"}},
    "output.hub": {"output": {"hub": {"push": True, "repository": "acme/x", "private": True, "always": True}}},
    "track.run_id": {"track": {"to": ["wandb"]}},
    "evaluate": {"evaluate": {"keep_best": True}},
    "runtime.compile": {"runtime": {"compile": True}},
    "parallel.wrap": {"parallel": {"engine": "fsdp", "stage": 3}},
}
"""Beginning of a setting -> what has to stand beside it so that it counts."""


@pytest.mark.parametrize(("dialect", "setting"), single_settings())
def test_a_setting_with_a_key_of_its_own_is_written_and_read_back(dialect: str, setting: str) -> None:
    beside = next((tree for start, tree in NEEDS.items() if setting.startswith(start)), {})
    tried = []
    for value in other(setting, value_of(Recipe(), setting)):
        tree = json.loads(json.dumps(beside))
        inner = tree
        *above, last = setting.split(".")
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = value
        try:
            recipe = own(tree)
        except RecipeError:
            continue
        tried.append(value)
        if setting not in {one.setting for one in convert(recipe, dialect).missing}:
            return
    pytest.fail(f"none of {tried} came back")


@given(trees(Recipe), st.sampled_from(OTHERS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_recipe_can_be_written_in_any_dialect_and_nothing_is_lost_in_silence(tree: Any, to: str) -> None:
    recipe = Recipe.model_validate_json(json.dumps(tree))
    written = convert(recipe, to)
    again = read(to, written.text)
    clean, gone = purged(recipe)
    assert not refusals(again)
    lost = {one.setting for one in differences(clean, again.recipe)}
    assert lost | {one.setting for one in gone} == {one.setting for one in written.missing}


@given(trees(Recipe))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_recipe_written_in_our_own_dialect_reads_as_itself(tree: Any) -> None:
    recipe = Recipe.model_validate_json(json.dumps(tree))
    written = convert(recipe, "luthier")
    clean, gone = purged(recipe)
    assert own(load_yaml(written.text, "again").value) == clean and len(written.missing) == len(gone)


def test_what_cannot_matter_is_listed_last_and_says_so() -> None:
    recipe = own({"adapter": {"kind": "none", "rslora": True}, "tokenizer": {"path": "words"}})
    missing = convert(recipe, "firefly").missing
    notes = [one.why.startswith("it cannot matter") for one in missing]
    assert notes == sorted(notes) and {"adapter.rslora", "tokenizer.path"} <= {one.setting for one in missing}
    assert next(one for one in missing if one.setting == "tokenizer.path").why == "it has no key for it"
    assert next(one for one in missing if one.setting == "adapter.rslora").why.endswith("adapter.kind is none")


@pytest.mark.parametrize("to", DIALECTS)
def test_a_secret_is_written_nowhere_and_listed_without_its_value(to: str) -> None:
    options = {"api_key": "sesame-open", "mode": "offline", "inner": {"WANDB_API_KEY": "sesame-open"}}
    written = convert(own({"track": {"to": ["wandb"], "options": options}}), to)
    assert "sesame" not in repr(written)
    listed = {one.setting: one.value for one in written.missing}
    assert listed["track.options.api_key"] == listed["track.options.inner.WANDB_API_KEY"] == "<redacted>"


def test_a_refused_source_of_rows_is_left_out_whole_and_the_others_stay() -> None:
    rows = [{"path": "acme/a", "format": "alpaca"}, {"path": "acme / b"}, {"path": "acme/c", "split": "test"}]
    written = convert(own({"model": {"path": "acme/m"}, "data": {"train": rows, "template": "alpaca"}}), "axolotl")
    kept = load_yaml(written.text, "again", version="1.1").value["datasets"]
    assert kept == [{"path": "acme/a", "type": "alpaca"}, {"path": "acme/c", "split": "test"}]
    assert {"data.train.1.path", "data.train.2"} <= {one.setting for one in written.missing}


def test_a_deepspeed_file_is_named_where_it_is_and_listed_where_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "zero.json").write_text('{"zero_optimization": {"stage": 2}, "bf16": {"enabled": "auto"}}')
    recipe = own({"parallel": {"engine": "deepspeed", "stage": 2, "deepspeed": "zero.json"}})
    there = convert(recipe, "peft_sft", tmp_path)
    assert "--deepspeed zero.json" in there.text
    assert not [one for one in there.missing if one.setting.startswith("parallel")]
    absent = convert(recipe, "peft_sft", tmp_path.parent)
    assert "zero.json" not in absent.text
    why = {one.setting: one.why for one in absent.missing}
    assert "no DeepSpeed file zero.json" in why["parallel.deepspeed"]


def test_a_script_says_every_value_as_one_word() -> None:
    path = "out/it's $HOME; rm"
    written = convert(own({"model": {"path": "--lantern"}, "output": {"dir": path}}), "peft_sft")
    again = read("peft_sft", written.text).recipe
    assert (again.model.path, again.output.dir) == ("--lantern", path)


def test_an_unknown_dialect_is_told_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="did you mean axolotl") as caught:
        convert(Recipe(), "axolot")
    assert caught.value.faults[0].place == "--to"


def test_what_a_row_takes_is_found_by_turning_it_round() -> None:
    rows = {row.name: row for row in single_keys(resolve("dialects", "axolotl").rows)}
    assert said_by(rows["curriculum_sampling"], False) is True
    assert said_by(rows["resize_token_embeddings_to_32x"], 32) is True
    assert said_by(rows["resize_token_embeddings_to_32x"], 8) is None
    assert said_by(rows["lora_alpha"], 16.0) == 16
    assert said_by(rows["bnb_config_kwargs.bnb_4bit_compute_dtype"], "bf16") == "bfloat16"


@pytest.mark.parametrize(
    ("data", "lost"),
    [
        ({"template_arguments": {"012": "x", "thinking": True}}, {"data.template_arguments.012"}),
        ({"evaluate": [{"path": "rows.jsonl", "turns": {".inf": "a", "mood": "b"}}]}, {"data.evaluate.0.turns..inf"}),
    ],
)
def test_names_that_no_template_reads_are_left_out_and_told(data: dict[str, Any], lost: set[str]) -> None:
    written = convert(own({"data": data}), "axolotl")
    assert lost <= {one.setting for one in written.missing}
    assert "thinking" in written.text or "mood" in written.text
