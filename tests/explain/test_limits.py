from __future__ import annotations

import pytest

from luthier.explain.catalogue import settings
from luthier.explain.limits import choices, default_text, is_number, is_switch, range_text, value_text


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", settings())
def test_every_setting_has_a_range_and_a_default(name: str, lang: str) -> None:
    info = settings()[name].info
    for text in (range_text(info, lang), default_text(info, lang)):
        assert text and "Undefined" not in text and "typing" not in text and "<class" not in text


@pytest.mark.parametrize(
    ("name", "limits", "default"),
    [
        ("adapter.rank", "whole number > 0", "16"),
        ("adapter.dropout", "number ≥ 0, < 1", "0.0"),
        ("optimizer.lr", "number > 0", "0.0002"),
        ("optimizer.epsilon", "number > 0", "1e-08"),
        ("optimizer.clip", "number > 0 | unset", "1.0"),
        ("checkpoint.every", "steps, a share below 1, epoch, never", "0.1"),
        ("data.holdout", "number, or a share below 1 ≥ 0", "0"),
        ("quantise.bits", "4 | 8 | 16", "16"),
        ("data.train_on", "list (assistant | user | system | tool | template)", '["assistant"]'),
        ("adapter.targets", "list | text", "all-linear"),
        ("adapter.rank_pattern", "mapping", "empty"),
        ("runtime.compile", "true | false", "false"),
        ("precision.tf32", "true | false | unset", "unset"),
        ("data.train.path", "text", "required"),
    ],
)
def test_ranges_and_defaults_read_as_recipes_are_written(name: str, limits: str, default: str) -> None:
    info = settings()[name].info
    assert (range_text(info, "en"), default_text(info, "en")) == (limits, default)


def test_numbers_are_raised_and_switches_turned_on() -> None:
    kinds = {name: (is_number(one.info), is_switch(one.info)) for name, one in settings().items()}
    assert kinds["batch.world"] == kinds["adapter.rank"] == (True, False)
    assert kinds["precision.tf32"] == kinds["runtime.compile"] == (False, True)
    assert kinds["adapter.kind"] == (False, False)


def test_choices_are_words_only() -> None:
    assert "nf4" in choices(settings()["quantise.kind"].info)
    assert choices(settings()["quantise.bits"].info) == ()
    assert "user" in choices(settings()["data.train_on"].info)


def test_values_are_said_in_the_language() -> None:
    assert (value_text(None, "zh"), value_text([], "zh"), value_text(2.0e-5, "en")) == ("不设", "空", "2e-05")
