from __future__ import annotations

import pytest

from luthier.errors import RecipeError
from luthier.explain.catalogue import sections, settings, tables
from luthier.explain.lookup import look_up


def reached(name: str, dialect: str | None = None) -> list[str | None]:
    return [one.setting.name if one.setting else None for one in look_up(name, dialect)]


def test_every_key_of_every_dialect_and_era_is_found_where_it_stands() -> None:
    lost = [
        (table.name, name)
        for table in tables()
        for row in table.rows
        for name in row.names
        if not any(key.row is row for one in look_up(name) for key in one.keys)
    ]
    assert lost == []


@pytest.mark.parametrize("name", [*settings(), *sections()])
def test_every_setting_and_section_is_found_by_its_own_name(name: str) -> None:
    assert reached(name)[0] == name


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("lora_r", "adapter.rank"), ("lora_rank", "adapter.rank"), ("peft_config.r", "adapter.rank"),
        ("evaluation_strategy", "evaluate.every"), ("eval_strategy", "evaluate.every"),
        ("max_seq_len", "data.max_length"), ("--max_seq_length", "data.max_length"),
        ("--lora-r", "adapter.rank"), ("noisy_embedding_alpha", "method.neftune_alpha"),
        ("per_gpu_train_batch_size", "batch.micro"), ("zero_optimization.stage", "parallel.stage"),
        ("zero_stage", "parallel.stage"), ("LORA_ALPHA", "adapter.alpha"), ("datasets.0.path", "data.train.path"),
        ("data.train.0.path", "data.train.path"), ("kernels.liger", "runtime.kernels.liger"),
    ],
)  # fmt: skip
def test_names_of_all_systems_and_years_lead_to_the_setting(name: str, setting: str) -> None:
    assert reached(name) == [setting]


def test_a_name_with_several_meanings_has_one_section_for_each() -> None:
    found = look_up("type")
    assert {one.setting.name for one in found if one.setting} >= {"data.train.format", "optimizer.kind"}
    assert len(found) == len({one.setting.name for one in found if one.setting})


def test_dialects_that_mean_the_same_share_a_section() -> None:
    (one,) = look_up("weight_decay")
    assert {"axolotl", "training_arguments", "deepspeed"} <= {key.table for key in one.keys}


def test_a_key_without_a_setting_says_what_it_is() -> None:
    (one,) = look_up("strict")
    assert one.setting is None and one.own is not None


def test_one_dialect_can_be_asked_for() -> None:
    assert reached("type", "deepspeed") == ["optimizer.kind", "schedule.kind"]
    assert reached("path", "luthier") == [
        "model.path", "tokenizer.path", "data.train.path", "data.evaluate.path", "data.test.path",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "setting"), [("SFT", "method.kind"), ("chatml", "data.template"), ("nf4", "quantise.kind")]
)
def test_a_value_leads_to_its_setting(word: str, setting: str) -> None:
    (one,) = look_up(word)
    assert one.value and one.setting is settings()[setting]


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("lora_rnak", "lora_rank"), ("learning_rte", "learning_rate"), ("optimizer.lrr", "optimizer.lr")],
)
def test_a_wrong_name_gets_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(RecipeError, match="no setting") as caught:
        look_up(wrong)
    assert near in caught.value.faults[0].remedy


@pytest.mark.parametrize("name", ["", "qqqqzzzz", ".", "\x1b[31m"])
def test_what_is_like_nothing_is_refused_too(name: str) -> None:
    with pytest.raises(RecipeError):
        look_up(name)
