"""Axolotl's keys of learning from judged answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.dialects.axolotl.values import asks, number, text, truth
from luthier.dialects.preference_losses import of_dpo
from luthier.dialects.table import Cannot, Default, Effect, Inert, Key, Row, Spread, Values, applied, inert

PREFERENCES = ("dpo", "ipo", "kto", "orpo", "simpo")
_LATER = "leave it out"


def _objective(value: Any, values: Values) -> Effect:
    if value in (None, False):
        return inert("null: the answers are learned")
    if value not in PREFERENCES:
        raise Cannot(
            f"{value!r} learns from its own samples, which is not there", f"use one of {', '.join(PREFERENCES)}"
        )
    return applied({"method.kind": value})


def _reward(value: Any, values: Values) -> Effect:
    return applied({"method.kind": "reward"}) if truth(value) else inert("it asks for nothing")


def _reference(value: Any, values: Values) -> Effect:
    if not truth(value):
        return inert("the reference answers beside the model")
    return applied({"method.reference": "precomputed"})


def _loss(value: Any, values: Values) -> Effect:
    if value is None or values.get("rl") not in ("dpo", "ipo"):
        return inert("it belongs to rl: dpo")
    weights = values.get("dpo_loss_weights")
    given = value if isinstance(value, list) else [value]
    return applied(of_dpo([text(one) for one in given], [number(one) for one in weights or ()]))


def _loss_weights(value: Any, values: Values) -> Effect:
    return inert("one weight for each loss, read with dpo_loss_type")


def _of_method(kind: str, setting: str) -> Callable[[Any, Values], Effect]:
    """A term that one ``rl`` has and the others pass over; of weights 0 means 1, as upstream reads them."""

    def spread(value: Any, values: Values) -> Effect:
        if value is None or values.get("rl") not in ((kind, "ipo") if kind == "dpo" else (kind,)):
            return inert(f"it belongs to rl: {kind}")
        return applied({f"method.{setting}": number(value) or (1.0 if setting.endswith("desirable_weight") else 0.0)})

    return spread


def _normed(value: Any, values: Values) -> Effect:
    if not truth(value) or values.get("rl") != "dpo":
        return inert("it asks for nothing")
    return applied({"method.loss": "sigmoid_norm"}, "log-probabilities are means over the answers' tokens")


PREFERENCE: tuple[Row, ...] = (
    Spread("rl", ("method.kind",), _objective),
    Spread("reward_model", ("method.kind",), _reward),
    Key("rl_beta", "method.beta", number, old=("dpo_beta",)),
    Key("orpo_alpha", "method.beta", number, note="ORPO's weight of the odds ratio"),
    Spread("precompute_ref_log_probs", ("method.reference",), _reference),
    Spread("dpo_loss_type", ("method.kind", "method.loss", "method.nll_weight"), _loss),
    Spread("dpo_loss_weights", (), _loss_weights),
    Spread("simpo_gamma", ("method.margin",), _of_method("simpo", "margin")),
    Spread("cpo_alpha", ("method.nll_weight",), _of_method("simpo", "nll_weight")),
    Spread("rpo_alpha", ("method.nll_weight",), _of_method("dpo", "nll_weight")),
    Spread("dpo_label_smoothing", ("method.preference_smoothing",), _of_method("dpo", "preference_smoothing")),
    Spread("kto_desirable_weight", ("method.desirable_weight",), _of_method("kto", "desirable_weight")),
    Spread("kto_undesirable_weight", ("method.undesirable_weight",), _of_method("kto", "undesirable_weight")),
    Key("center_rewards_coefficient", "method.center_rewards", number),
    Inert("dpo_use_liger_kernel", "a fused kernel for the same numbers"),
    Inert("dpo_use_logits_to_keep", "logits are computed where they are needed"),
    Inert("dpo_padding_free", "nothing is ever padded"),
    Inert("dpo_generate_during_eval", "what it printed changed nothing"),
    Inert("num_labels", "a reward is one number", (None, 1), "leave it out"),
    Spread("dpo_use_weighting", (), asks("this term of DPO is not there", _LATER, (None, False))),
    Spread("dpo_norm_loss", ("method.loss",), _normed),
)

WITH_LIKELIHOOD = Default(
    "cpo_alpha",
    1.0,
    {"method.nll_weight": 1.0},
    "TRL's CPOTrainer, which runs SimPO upstream, adds the chosen answer's likelihood",
    lambda values: values.get("rl") == "simpo" and values.get("cpo_alpha") is None,
)
