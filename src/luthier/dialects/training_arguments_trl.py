"""What TRL's SFTConfig, DPOConfig and their kin added to TrainingArguments, as they print themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.dialects import names
from luthier.dialects.plain_values import flag, mapping, number, text, whole
from luthier.dialects.table import (
    Cannot,
    Effect,
    Inert,
    Key,
    Refused,
    Row,
    Spread,
    Values,
    applied,
    inert,
    refused,
    replaced,
)

ROLES = ["system", "user", "assistant", "tool"]

LEAKED = "samples then ran into one another in a row of tokens; documents in a pack here never see one another"

STRATEGIES = {
    "bfd": ("best_fit", "truncate"),
    "bfd-requeue": ("best_fit", "split"),
    "bfd_split": ("best_fit", "split"),
    "ffd": ("first_fit", "truncate"),
    "wrapped": ("best_fit", "split"),
}
"""How TRL filled packs -> our packing, and what becomes of rows that are longer than one."""

KINDS = {"sigmoid": "dpo", "ipo": "ipo", "simpo": "simpo", "kto": "kto"}
DTYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "auto": "auto"}
ATTENTION = {"flash_attention_2": "flash", "flash_attention_3": "flash", "sdpa": "sdpa", "eager": "eager"}


def _on(value: Any) -> bool:
    return value is not None and flag(value)


def packing(value: Any, values: Values) -> Effect:
    """``packing``: what it did depends on the version, which ``packing_strategy`` and ``max_length`` show."""
    if not _on(value):
        return applied({"pack.kind": "none", "data.overlong": "truncate"}, "over-long rows lose their tail")
    strategy = values.get("packing_strategy")
    if strategy is None and "max_length" in values and values.get("max_seq_length") is None:
        strategy = "bfd"
    if strategy is None or str(strategy) == "wrapped":
        note = f"whole documents are packed: {LEAKED}; rows longer than a pack are split, as they were"
        return replaced({"pack.kind": "best_fit", "data.overlong": "split"}, note)
    kind, overlong = STRATEGIES[names.member(strategy, tuple(STRATEGIES), "packing strategy")]
    cut = "lose their tail" if overlong == "truncate" else "are split"
    return applied({"pack.kind": kind, "data.overlong": overlong}, f"over-long rows {cut}")


def strategy(value: Any, values: Values) -> Effect:
    """``packing_strategy``: read with ``packing``."""
    if not _on(values.get("packing")):
        return inert("packing is off")
    names.member(value, tuple(STRATEGIES), "packing strategy")
    return replaced({}, "packing says it")


def text_column(value: Any, values: Values) -> Effect:
    """``dataset_text_field``: the rows are named elsewhere, and their columns with them."""
    if value in (None, "", "text"):
        return inert("the column that is read anyway")
    return replaced({}, f"name it with the rows, which this file does not: columns: {{text: {value}}}")


def printed_token(target: str) -> Callable[[Any, Values], Effect]:
    """``eos_token``, ``pad_token``: a printed config hides every value whose key ends in token."""

    def spread(value: Any, values: Values) -> Effect:
        if value in (None, "") or (str(value).startswith("<") and str(value).endswith("_TOKEN>")):
            return inert("not set, or hidden when it was printed: the tokenizer's own")
        return applied({target: text(value)})

    return spread


def truncation(value: Any, values: Values) -> Effect:
    """``truncation_mode``; of preference pairs it is the prompt that loses its head."""
    if value is None:
        return inert("null: left at the default")
    kind = names.member(value, ("keep_start", "keep_end"), "truncation mode")
    if _preferences(values):
        return inert("a prompt that is too long loses its head, then the answers their tails")
    if _on(values.get("packing")):
        return inert("packing says what becomes of over-long rows")
    return applied({"data.overlong": "truncate" if kind == "keep_start" else "truncate_left"})


def learned(value: Any, values: Values) -> Effect:
    """``assistant_only_loss``: off learned every token of a conversation."""
    if _on(value) or _on(values.get("completion_only_loss")):
        return applied({"data.train_on": ["assistant"]})
    note = (
        "off: every token of a conversation was learned; for rows of prompt and completion, of which the completion "
        "alone was, write data.train_on=[assistant]"
    )
    return applied({"data.train_on": ROLES}, note)


def completions(value: Any, values: Values) -> Effect:
    """``completion_only_loss``: on learned the answers alone, off the prompt as well, unset went by the columns."""
    if value is None:
        return inert("not set: it went by the rows")
    if _on(value) or _on(values.get("assistant_only_loss")):
        return applied({"data.train_on": ["assistant"]})
    return applied({"data.train_on": ROLES}, "off: prompts are learned too")


def _preferences(values: Values) -> bool:
    return values.get("beta") is not None


def loss(value: Any, values: Values) -> Effect:
    """``loss_type``: of preference pairs the objective; of plain rows how the one loss is computed."""
    listed = value if isinstance(value, list) else [value]
    given = [str(one).rsplit(".", 1)[-1].lower() for one in listed if one is not None]
    if not given or given[0] in ("nll", "chunked_nll"):
        return inert("the plain loss; in chunks or not, it is the same number")
    if len(given) > 1 or given[0] not in KINDS:
        raise Cannot(f"the loss {', '.join(given)} is not there", f"write one of: {', '.join(KINDS)}")
    return applied({"method.kind": KINDS[given[0]]})


def beta(value: Any, values: Values) -> Effect:
    """``beta``, which every preference method has; which one it is, its other keys show."""
    if value is None:
        return inert("null: left at the default")
    made: dict[str, Any] = {"method.beta": number(value)}
    if values.get("loss_type") is None:
        made["method.kind"] = "kto" if "desirable_weight" in values else "dpo" if "reference_free" in values else "orpo"
    return applied(made)


def model_words(value: Any, values: Values) -> Effect:
    """``model_init_kwargs``: the number type and the attention are settings; nothing else may be asked for."""
    made: dict[str, Any] = {}
    for name, said in (mapping(value) if value else {}).items():
        if name in ("torch_dtype", "dtype"):
            made["model.dtype"] = DTYPES[names.member(said, tuple(DTYPES), "number type")]
        elif name == "attn_implementation":
            made["model.attention"] = ATTENTION[names.member(said, tuple(ATTENTION), "attention")]
        elif name == "revision":
            made["model.revision"] = text(said)
        elif name not in ("use_cache", "device_map", "low_cpu_mem_usage", "trust_remote_code", "token"):
            raise Cannot(f"loading a model takes no {name}", "remove it")
    return applied(made) if made else inert("it asks for nothing that matters here")


def template_file(value: Any, values: Values) -> Effect:
    """``chat_template_path``."""
    if value in (None, ""):
        return inert("not set: the tokenizer's own")
    if not text(value).endswith((".jinja", ".jinja2", ".j2")):
        raise Cannot("a template is taken from a file, not from another tokenizer", "save it, and name FILE.jinja")
    return applied({"data.template": text(value)})


def cpo_alpha(value: Any, values: Values) -> Effect:
    """``cpo_alpha``: the weight of the chosen answer's likelihood, which CPOTrainer adds to each of its losses."""
    if value is None or number(value) == 0:
        return inert("it asks for nothing")
    if _loss_kind(values) not in ("sigmoid", "hinge", "ipo", "simpo", "alphapo"):
        return inert("it belongs to the losses of CPO")
    return refused("CPO adds the likelihood of the chosen answer, which is not there", "write cpo_alpha=0")


def simpo_gamma(value: Any, values: Values) -> Effect:
    """``simpo_gamma``: SimPO's margin; printed at 0.5 beside every loss of CPO's."""
    if value is None or _loss_kind(values) != "simpo":
        return inert("it belongs to the loss simpo")
    if number(value) == 0.5:
        return inert("SimPO's own margin")
    return refused("another margin than SimPO's own 0.5 is not there", "write simpo_gamma=0.5")


def _loss_kind(values: Values) -> str:
    given = values.get("loss_type")
    listed = given if isinstance(given, list) else [given]
    return str(listed[0] if listed else None).rsplit(".", 1)[-1].lower()


def reference(value: Any, values: Values) -> Effect:
    """``precompute_ref_log_probs``."""
    return applied({"method.reference": "precomputed"}) if _on(value) else inert("the reference answers beside")


_OLD_PACKING = "an estimate for the way of packing that TRL had until 0.14"
_PAIRS = "rows are padded to nothing here, and pairs are told by their place"

SFT: tuple[Row, ...] = (
    Key("max_length", "data.max_length", whole, old=("max_seq_length",)),
    Spread("packing", ("pack.kind", "data.overlong"), packing),
    Spread("packing_strategy", (), strategy),
    Spread("dataset_text_field", (), text_column),
    Key("dataset_num_proc", "data.workers", whole),
    Spread("model_init_kwargs", ("model.dtype", "model.attention", "model.revision"), model_words, whole=True),
    Spread("chat_template_path", ("data.template",), template_file),
    Spread("eos_token", ("tokenizer.eos",), printed_token("tokenizer.eos")),
    Spread("pad_token", ("tokenizer.pad",), printed_token("tokenizer.pad")),
    Spread("truncation_mode", ("data.overlong",), truncation),
    Spread("assistant_only_loss", ("data.train_on",), learned),
    Spread("completion_only_loss", ("data.train_on",), completions),
    Key("use_liger", "runtime.kernels.liger", lambda value: "on" if flag(value) else "off"),
    Inert("dataset_kwargs", "rows are always prepared, with the tokens that their text or template holds", whole=True),
    Inert("shuffle_dataset", "each epoch has its own order anyway"),
    Inert("padding_free", "nothing is ever padded"),
    Inert("pad_to_multiple_of", "nothing is ever padded"),
    Inert("eval_packing", "documents in a pack never see one another: packed or not, the loss is the same"),
    Inert("num_of_sequences", _OLD_PACKING),
    Inert("chars_per_token", _OLD_PACKING),
    Inert("dataset_batch_size", "how many rows are prepared at once changes none of them"),
    Inert("activation_offloading", "where activations wait changes memory, not the result"),
)
"""SFTConfig's own."""

PREFERENCES: tuple[Row, ...] = (
    Spread("loss_type", ("method.kind",), loss),
    Spread("beta", ("method.beta", "method.kind"), beta),
    Key("max_prompt_length", "method.max_prompt_length", whole),
    Spread("precompute_ref_log_probs", ("method.reference",), reference),
    Inert("max_target_length", "models here have no separate decoder"),
    Inert("max_completion_length", "max_length bounds prompt and answer", (None,), "write max_length"),
    Inert("label_smoothing", "answers are taken as they are marked", (None, 0, 0.0), "write 0"),
    *(Inert(name, _PAIRS) for name in ("label_pad_token_id", "padding_value", "is_encoder_decoder")),
    Inert("disable_dropout", "an adapter's dropout is said with the adapter, and the reference never has any"),
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
    Refused("reference_free", "preferences are learned against a reference", "use ORPO or SimPO, which need none"),
    Spread("cpo_alpha", (), cpo_alpha),
    Spread("simpo_gamma", (), simpo_gamma),
    Refused("sync_ref_model", "a reference that moves along is not there", "write false"),
    *(
        Refused(name, "this term of the loss is not there", "leave it out", unless)
        for name, unless in (
            ("rpo_alpha", (None, 0)), ("center_rewards_coefficient", (None, 0)),
            ("ld_alpha", (None, 1, 1.0)), ("use_weighting", (None, False)),
            ("loss_weights", (None, [1.0])),
            ("desirable_weight", (None, 1, 1.0)), ("undesirable_weight", (None, 1, 1.0)),
        )
    ),
)  # fmt: skip
"""What DPOConfig, KTOConfig, ORPOConfig and CPOConfig added."""

TRL: tuple[Row, ...] = (*SFT, *PREFERENCES)
