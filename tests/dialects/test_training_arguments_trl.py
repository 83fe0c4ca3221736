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
        ("loss_type", {"loss_type": ["sigmoid", "ipo"]}, Outcome.REFUSED, "write one of"),
        ("loss_type", {"loss_type": ["sigmoid"], "loss_weights": [0.5]}, Outcome.REFUSED, "a weight of 1"),
        ("loss_type", {"loss_type": "discopop"}, Outcome.REFUSED, "write one of"),
        ("loss_type", {"loss_type": "robust", "cpo_alpha": 1.0}, Outcome.REFUSED, "simpo"),
        ("loss_type", {"loss_type": "apo_zero_unpaired"}, Outcome.REFUSED, "write kto"),
        ("alpha", {"alpha": 0.2}, Outcome.REFUSED, "AlphaPO"),
        ("cpo_alpha", {"cpo_alpha": 1.0, "beta": 0.1}, Outcome.INERT, "losses of CPO"),
        ("simpo_gamma", {"simpo_gamma": 0.5, "loss_type": "hinge"}, Outcome.INERT, "the loss simpo"),
        ("loss_type", {"loss_type": "nll"}, Outcome.INERT, "same number"),
        ("model_init_kwargs", {"model_init_kwargs": {"rope": 1}}, Outcome.REFUSED, "remove it"),
        ("reference_free", {"reference_free": False}, Outcome.INERT, "there is a reference"),
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
        ({"beta": 0.1, "loss_type": "LossType.HINGE"}, "method.loss", "hinge"),
        ({"beta": 0.1, "loss_type": ["ipo"]}, "method.kind", "ipo"),
        ({"beta": 0.1, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.3]}, "method.nll_weight", 0.3),
        ({"beta": 0.1, "loss_type": "hinge", "cpo_alpha": 1.0}, "method.kind", "cpo"),
        ({"beta": 0.1, "loss_type": "simpo", "cpo_alpha": 0.0}, "method.kind", "simpo"),
        ({"beta": 0.1, "loss_type": "simpo", "simpo_gamma": 0.7}, "method.margin", 0.7),
        ({"beta": 0.1, "reference_free": True}, "method.reference", "none"),
        ({"center_rewards_coefficient": 0.01}, "method.kind", "reward"),
        ({"beta": 0.1, "loss_type": "kto"}, "method.kind", "kto"),
    ],
)
def test_what_it_comes_to(keys: dict[str, Any], setting: str, value: Any) -> None:
    section, name = setting.split(".")
    assert getattr(getattr(read(TRAINING_ARGUMENTS, {**BASE, **keys}).recipe, section), name) == value


def test_a_printed_config_of_trl_is_known() -> None:
    text = "SFTConfig(\noutput_dir=o,\nlearning_rate=1e-4,\npacking=True,\nmax_length=64,\npacking_strategy=bfd,\n)\n"
    assert recognises(parse(text, "n"))
    assert all(one.known for one in TRAINING_ARGUMENTS.read(text, "n", ()).accounts)
