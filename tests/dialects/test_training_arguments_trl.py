"""What TRL's configurations print beside TrainingArguments."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.dialects.reading import Account, Outcome
from luthier.dialects.training_arguments import TRAINING_ARGUMENTS, parse, recognises
from luthier.dialects.training_arguments_trl import TRL
from tests.dialects.argument_flips import TRL_FLIPS
from tests.dialects.flips import makers, read

BASE = {"output_dir": "out", "learning_rate": 1e-4}


def account(key: str, **keys: Any) -> Account:
    """The account of a key in a file with these keys."""
    accounts = read(TRAINING_ARGUMENTS, {**BASE, **keys}).accounts
    (found,) = [one for one in accounts if one.key == key and one.outcome is not Outcome.DEFAULT]
    return found


def test_every_row_that_makes_settings_is_flipped() -> None:
    assert sorted(makers(TRL)) == sorted(TRL_FLIPS)


@pytest.mark.parametrize(
    ("key", "keys", "outcome", "said"),
    [
        ("packing", {"packing": True}, Outcome.REPLACED, "ran into one another"),
        ("packing", {"packing": True, "packing_strategy": "bfd", "max_length": 8}, Outcome.APPLIED, "their tail"),
        ("packing", {"packing": True, "packing_strategy": "wrapped"}, Outcome.REPLACED, "never see"),
        ("packing_strategy", {"packing_strategy": "bfd"}, Outcome.INERT, "packing is off"),
        ("eos_token", {"eos_token": "<EOS_TOKEN>"}, Outcome.INERT, "hidden when it was printed"),
        ("assistant_only_loss", {"assistant_only_loss": False}, Outcome.APPLIED, "every token"),
        ("loss_type", {"loss_type": "hinge"}, Outcome.REFUSED, "write one of"),
        ("loss_type", {"loss_type": "nll"}, Outcome.INERT, "same number"),
        ("model_init_kwargs", {"model_init_kwargs": {"rope": 1}}, Outcome.REFUSED, "remove it"),
        ("truncation_mode", {"truncation_mode": "keep_end", "beta": 0.1}, Outcome.INERT, "loses its head"),
        ("reference_free", {"reference_free": True}, Outcome.REFUSED, "ORPO"),
    ],
)
def test_what_is_said(key: str, keys: dict[str, Any], outcome: Outcome, said: str) -> None:
    found = account(key, **keys)
    assert (found.outcome, said in found.note) == (outcome, True), found


@pytest.mark.parametrize(
    ("keys", "setting", "value"),
    [
        ({"packing": True, "packing_strategy": "bfd"}, "pack.kind", "best_fit"),
        ({"beta": 0.1, "reference_free": False}, "method.kind", "dpo"),
        ({"beta": 0.1, "desirable_weight": 1.0}, "method.kind", "kto"),
        ({"beta": 0.1}, "method.kind", "orpo"),
    ],
)
def test_what_it_comes_to(keys: dict[str, Any], setting: str, value: Any) -> None:
    section, name = setting.split(".")
    assert getattr(getattr(read(TRAINING_ARGUMENTS, {**BASE, **keys}).recipe, section), name) == value


def test_a_printed_config_of_trl_is_known() -> None:
    text = "SFTConfig(\noutput_dir=o,\nlearning_rate=1e-4,\npacking=True,\nmax_length=64,\npacking_strategy=bfd,\n)\n"
    assert recognises(parse(text, "n"))
    assert all(one.known for one in TRAINING_ARGUMENTS.read(text, "n", ()).accounts)
