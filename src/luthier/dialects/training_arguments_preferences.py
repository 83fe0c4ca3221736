"""What TRL's DPOConfig, KTOConfig, ORPOConfig, CPOConfig and RewardConfig add, as they print themselves."""

from __future__ import annotations

from typing import Any

from luthier.dialects.plain_values import flag, number, whole
from luthier.dialects.preference_losses import of_cpo, of_dpo
from luthier.dialects.table import Cannot, Effect, Inert, Key, Refused, Row, Spread, Values, applied, inert, refused


def loss(value: Any, values: Values) -> Effect:
    """``loss_type``: of preference pairs the objective; of plain rows how the one loss is computed."""
    given = _names(value)
    if not given or given[0] in ("nll", "chunked_nll"):
        return inert("the plain loss; in chunks or not, it is the same number")
    if given == ["kto"]:
        return applied({"method.kind": "kto"})
    if given == ["apo_zero_unpaired"]:
        raise Cannot("the loss apo_zero_unpaired is not there", "write kto")
    if len(given) == 1 and ("cpo_alpha" in values or given[0] == "simpo"):
        return applied(of_cpo(given[0]))
    weights = values.get("loss_weights")
    return applied(of_dpo(given, [number(one) for one in weights] if isinstance(weights, list) else []))


def loss_weights(value: Any, values: Values) -> Effect:
    """``loss_weights``, read with the losses."""
    if value is None:
        return inert("null: left at the default")
    return inert("one weight for each loss, read with loss_type")


def beta(value: Any, values: Values) -> Effect:
    """``beta``, which every preference method has; which one it is, its other keys show."""
    if value is None:
        return inert("null: left at the default")
    made: dict[str, Any] = {"method.beta": number(value)}
    if values.get("loss_type") is None:
        made["method.kind"] = "kto" if "desirable_weight" in values else "dpo" if "reference_free" in values else "orpo"
    return applied(made)


def likelihood(value: Any, values: Values) -> Effect:
    """``rpo_alpha``: the weight of the chosen answer's likelihood in DPO."""
    if value is None:
        return inert("null: left at the default")
    return applied({"method.nll_weight": number(value)})


def cpo_alpha(value: Any, values: Values) -> Effect:
    """``cpo_alpha``: the weight of the chosen answer's likelihood, which CPOTrainer adds to each of its losses."""
    if value is None or not _names(values.get("loss_type")):
        return inert("it belongs to the losses of CPO")
    return applied({"method.nll_weight": number(value)})


def simpo_gamma(value: Any, values: Values) -> Effect:
    """``simpo_gamma``: SimPO's margin; printed at 0.5 beside every loss of CPO's."""
    if value is None or _names(values.get("loss_type")) != ["simpo"]:
        return inert("it belongs to the loss simpo")
    return applied({"method.margin": number(value)})


def alpha(value: Any, values: Values) -> Effect:
    """``alpha`` of CPOConfig: AlphaPO's reward."""
    if value is None or number(value) == 0:
        return inert("it asks for nothing")
    return refused("AlphaPO's reward is not there", "write alpha=0.0")


def smoothing(value: Any, values: Values) -> Effect:
    """``label_smoothing`` of pairs."""
    if value is None:
        return inert("null: left at the default")
    return applied({"method.preference_smoothing": number(value)}, "of pairs, not of the vocabulary")


def reference(value: Any, values: Values) -> Effect:
    """``precompute_ref_log_probs``."""
    on = value is not None and flag(value)
    return applied({"method.reference": "precomputed"}) if on else inert("the reference answers beside")


def without_reference(value: Any, values: Values) -> Effect:
    """``reference_free``."""
    on = value is not None and flag(value)
    return applied({"method.reference": "none"}) if on else inert("there is a reference")


def centred(value: Any, values: Values) -> Effect:
    """``center_rewards_coefficient``, which RewardConfig has."""
    made: dict[str, Any] = {} if values.get("beta") is not None else {"method.kind": "reward"}
    if value is not None:
        made["method.center_rewards"] = number(value)
    return applied(made) if made else inert("null: left at the default")


def model_dropout(value: Any, values: Values) -> Effect:
    """``disable_dropout``."""
    if value is None:
        return inert("null: left at the default")
    return applied(
        {"method.model_dropout": not flag(value)},
        "of the model's own layers; an adapter's, which it means as well, is adapter.dropout, and 0 unless it is set",
    )


def _names(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [str(one).rsplit(".", 1)[-1].lower() for one in listed if one is not None]


_PAIRS = "rows are padded to nothing here, and pairs are told by their place"

PREFERENCES: tuple[Row, ...] = (
    Spread("loss_type", ("method.kind", "method.loss", "method.nll_weight"), loss),
    Spread("loss_weights", (), loss_weights),
    Spread("beta", ("method.beta", "method.kind"), beta),
    Key("max_prompt_length", "method.max_prompt_length", whole),
    Spread("precompute_ref_log_probs", ("method.reference",), reference),
    Spread("reference_free", ("method.reference",), without_reference),
    Spread("label_smoothing", ("method.preference_smoothing",), smoothing),
    Spread("rpo_alpha", ("method.nll_weight",), likelihood),
    Spread("cpo_alpha", ("method.nll_weight",), cpo_alpha),
    Spread("simpo_gamma", ("method.margin",), simpo_gamma),
    Spread("alpha", (), alpha),
    Key("desirable_weight", "method.desirable_weight", number),
    Key("undesirable_weight", "method.undesirable_weight", number),
    Spread("center_rewards_coefficient", ("method.kind", "method.center_rewards"), centred),
    Inert("max_target_length", "models here have no separate decoder"),
    Inert("max_completion_length", "max_length bounds prompt and answer", (None,), "write max_length"),
    *(Inert(name, _PAIRS) for name in ("label_pad_token_id", "padding_value", "is_encoder_decoder")),
    Spread("disable_dropout", ("method.model_dropout",), model_dropout),
    Inert("generate_during_eval", "what it showed changed nothing"),
    Inert("precompute_ref_batch_size", "how many rows at a time changes no result"),
    Inert("ref_model_init_kwargs", "the reference is the model before its first step", whole=True),
    *(Inert(name, "there is one adapter") for name in ("model_adapter_name", "ref_adapter_name")),
    *(Inert(name, "the reference is the model before its first step") for name in ("force_use_ref_model",)),
    *(Inert(name, "logits are computed where they are needed") for name in ("use_logits_to_keep",)),
    Inert("use_num_logits_to_keep", "logits are computed where they are needed"),
    Inert("base_model_attribute_name", "the kernel finds the model by itself"),
    Inert("tools", "tools stand in the rows"),
    Inert("f_divergence_type", "the divergence is the reverse one", (None, "reverse_kl", *(
        f"FDivergenceType.{one}" for one in ("REVERSE_KL", "reverse_kl"))), "write reverse_kl"),
    Inert("f_alpha_divergence_coef", "it belongs to another divergence"),
    *(Inert(name, "it belongs to sync_ref_model") for name in ("ref_model_mixup_alpha", "ref_model_sync_steps")),
    Inert("discopo_tau", "it belongs to another loss"),
    Refused("sync_ref_model", "a reference that moves along is not there", "write false"),
    *(
        Refused(name, "this term of the loss is not there", "leave it out", unless)
        for name, unless in (("ld_alpha", (None, 1, 1.0)), ("use_weighting", (None, False)))
    ),
)  # fmt: skip
"""What they added."""
