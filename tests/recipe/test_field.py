"""Every setting is described in English and Chinese, bounded, and refused when it is not what it should be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

import annotated_types
import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from luthier.recipe import Recipe
from luthier.recipe.batch import Batch
from luthier.recipe.checkpoint import Checkpoint
from luthier.recipe.data import Data
from luthier.recipe.field import Section, fields_of, section_class, words_of
from luthier.recipe.model import Scratch
from luthier.recipe.source import Source

CHINESE = re.compile(r"[\u4e00-\u9fff]")

WITHOUT_UNIT = {
    "model.scratch.rope_theta", "model.scratch.init_std", "adapter.alpha", "adapter.rank_pattern",
    "adapter.alpha_pattern", "data.train.weight", "data.evaluate.weight", "data.test.weight", "method.beta",
    "method.neftune_alpha", "method.z_loss", "optimizer.lr", "optimizer.beta1", "optimizer.beta2",
    "optimizer.epsilon", "optimizer.weight_decay", "optimizer.clip", "optimizer.embedding_lr", "optimizer.lora_plus",
    "optimizer.lora_plus_embedding_lr",
    "schedule.power", "evaluate.generation.temperature", "evaluate.generation.repetition_penalty",
    "evaluate.generation.length_penalty",
    "evaluate.threshold", "seed", "method.nll_weight", "method.margin", "method.desirable_weight",
    "method.undesirable_weight", "method.center_rewards", "data.train.shard", "data.evaluate.shard",
    "data.test.shard",
}  # fmt: skip
"""Pure numbers: ratios, constants and names."""


def everything(section: type[Section] = Recipe, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """All fields, those that hold sections included."""
    for name, info in section.model_fields.items():
        yield prefix + name, info
        inner = section_class(info)
        if inner is not None:
            yield from everything(inner, f"{prefix}{name}.")


ALL = dict(everything())
NUMBERS = {key: info for key, info in fields_of(Recipe) if re.search(r"\b(int|float)\b", str(info.annotation))}


@pytest.mark.parametrize("key", ALL)
def test_every_setting_has_english_and_chinese_words_and_advice(key: str) -> None:
    words = words_of(ALL[key])
    for english, chinese in ((words.en, words.zh), words.up, words.down):
        assert len(english) >= 6 and not CHINESE.search(english)
        assert CHINESE.search(chinese)
    assert words.en.endswith(".") and words.zh.endswith(("。", ")"))
    assert ALL[key].description == words.en


@pytest.mark.parametrize("key", NUMBERS)
def test_every_number_has_its_unit(key: str) -> None:
    assert bool(words_of(NUMBERS[key]).unit) != (key in WITHOUT_UNIT)


@pytest.mark.parametrize("key", sorted(set(NUMBERS) - {"evaluate.every", "checkpoint.every"}))
def test_every_number_has_a_least_value(key: str) -> None:
    info = NUMBERS[key]
    rules = [*info.metadata, *(rule for kind in get_args(info.annotation) for rule in inner_rules(kind))]
    assert any(isinstance(rule, annotated_types.Gt | annotated_types.Ge) for rule in rules)


def inner_rules(kind: object) -> list[object]:
    """The constraints of a dictionary's values."""
    return [rule for one in getattr(kind, "__metadata__", ()) for rule in getattr(one, "metadata", ())]


def test_no_setting_is_described_twice_in_the_same_words() -> None:
    sections = {id(info): words_of(info).en for info in ALL.values()}
    assert len(set(sections.values())) == len(sections)


def test_settings_of_the_same_section_class_have_one_description() -> None:
    assert ALL["data.train.format"] is ALL["data.test.format"]


@pytest.mark.parametrize(
    "section",
    dict.fromkeys([Recipe, *(kind for info in ALL.values() if (kind := section_class(info)))]),
    ids=lambda kind: kind.__name__,
)
def test_every_section_is_frozen_and_refuses_strangers(section: type[Section]) -> None:
    made = section.model_validate_json('{"path": "x"}' if section is Source else "{}")
    name = next(iter(section.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, name, getattr(made, name))
    with pytest.raises(ValidationError, match="extra_forbidden"):
        section.model_validate_json('{"path": "x", "stranger": 1}' if section is Source else '{"stranger": 1}')


def test_sections_are_found_inside_optionals_and_tuples() -> None:
    assert section_class(ALL["model.scratch"]) is Scratch
    assert section_class(ALL["data.train"]) is Source
    assert section_class(ALL["data.train_on"]) is None
    assert section_class(ALL["adapter.rank_pattern"]) is None


def test_fields_of_names_the_settings_below_nested_sections() -> None:
    names = [key for key, _ in fields_of(Recipe)]
    assert {"model.scratch.hidden", "data.train.path", "runtime.kernels.liger", "output.hub.push", "seed"} <= set(names)
    assert not {"model", "model.scratch", "data.train", "output.hub"} & set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("every", [1, 100, 0.5, 0.001, "epoch", "never"])
def test_recurring_things_take_steps_shares_and_words(every: int | float | str) -> None:
    assert Checkpoint(every=every).every == every
    assert type(Checkpoint(every=every).every) is type(every)


@pytest.mark.parametrize("every", [0, -1, 0.0, 1.0, 1.5, -0.1, float("nan"), "sometimes", "", True, None])
def test_recurring_things_refuse_everything_else(every: object) -> None:
    with pytest.raises(ValidationError):
        Checkpoint(every=every)  # type: ignore[arg-type]


@pytest.mark.parametrize("holdout", [0, 5, 0.1, 0.999])
def test_a_part_is_a_share_or_a_number(holdout: int | float) -> None:
    assert Data(holdout=holdout).holdout == holdout


@pytest.mark.parametrize("holdout", [1.0, 2.5, -1, -0.1, True])
def test_a_part_is_no_broken_number(holdout: int | float) -> None:
    with pytest.raises(ValidationError):
        Data(holdout=holdout)


@pytest.mark.parametrize("micro", [True, 2.0, "2", 0, -1, None])
def test_numbers_are_not_guessed_from_other_types(micro: object) -> None:
    with pytest.raises(ValidationError):
        Batch(micro=micro)  # type: ignore[arg-type]
