"""ChatGLM3's ``peft_config``: the fields of PEFT's own adapter configurations."""

from __future__ import annotations

from typing import Any

from luthier.dialects.names import member
from luthier.dialects.plain_values import flag, number, text, whole
from luthier.dialects.table import Cannot, Effect, Inert, Key, Row, Spread, Values, applied, inert, replaced

KINDS = {"LORA": "lora", "PREFIX_TUNING": "prefix", "PROMPT_TUNING": "prompt", "IA3": "ia3"}


def peft_type(value: Any, values: Values) -> Effect:
    """LORA, or PREFIX_TUNING, which is ChatGLM's own P-Tuning v2."""
    if value is None:
        return applied({"adapter.kind": "none"})
    kind = str(value).rsplit(".", 1)[-1].upper()
    if kind not in KINDS:
        raise Cannot(f"{value!r} is not there", f"write one of: {', '.join(KINDS)}")
    note = "a trained prefix of keys and values in every layer (P-Tuning v2)" if kind == "PREFIX_TUNING" else ""
    return applied({"adapter.kind": KINDS[kind]}, note)


def no_adapter(value: Any, values: Values) -> Effect:
    """``peft_config`` with nothing in it: all weights train."""
    return applied({"adapter.kind": "none"}, "nothing in it: all weights train")


def targets(value: Any, values: Values) -> Effect:
    """Names of layers; one name alone is a pattern."""
    if not value:
        return inert("not set")
    return applied({"adapter.targets": [text(one) for one in value] if isinstance(value, list) else text(value)})


def listed(value: Any) -> list[str]:
    """One name or several."""
    return [text(one) for one in value] if isinstance(value, list) else [text(value)]


INITS = ("default", "gaussian", "pissa", "olora", "loftq", "orthogonal")


def init(value: Any) -> str:
    """``init_lora_weights``; true is PEFT's own default."""
    return "default" if value is True else member(value, INITS, "start of an adapter")


def loftq(value: Any, values: Values) -> Effect:
    """``loftq_config``, the constants of ``init_lora_weights: loftq``: bits and rounds."""
    if not value or str(values.get("peft_config.init_lora_weights")).lower() != "loftq":
        return inert("it belongs to init_lora_weights: loftq")
    given = value if isinstance(value, dict) else {}
    bits, rounds = (given.get("loftq_bits"), given.get("loftq_iter"))
    if bits not in (None, 4) or rounds not in (None, 1):
        raise Cannot("LoftQ is there for 4 bits and one round alone", "write loftq_bits: 4, loftq_iter: 1")
    return replaced({}, "init_lora_weights says it: LoftQ for 4 bits, in one round")


_MODEL = "it is read from the model itself"
_NOTHING: tuple[Any, ...] = (None, False, [], {})

PEFT: tuple[Row, ...] = (
    Spread("peft_config", ("adapter.kind",), no_adapter),
    Spread("peft_config.peft_type", ("adapter.kind",), peft_type),
    Inert("peft_config.task_type", "the models here are causal language models", ("CAUSAL_LM",), "write CAUSAL_LM"),
    Key("peft_config.r", "adapter.rank", whole),
    Key("peft_config.lora_alpha", "adapter.alpha", number),
    Key("peft_config.lora_dropout", "adapter.dropout", number),
    Spread("peft_config.target_modules", ("adapter.targets",), targets),
    Key("peft_config.modules_to_save", "adapter.modules_to_save", listed),
    Key("peft_config.bias", "adapter.bias", text),
    Key("peft_config.rank_pattern", "adapter.rank_pattern", whole=True),
    Key("peft_config.alpha_pattern", "adapter.alpha_pattern", whole=True),
    Key("peft_config.use_dora", "adapter.dora", flag),
    Key("peft_config.use_rslora", "adapter.rslora", flag),
    Key("peft_config.init_lora_weights", "adapter.init", init),
    Spread("peft_config.loftq_config", (), loftq, whole=True),
    Key("peft_config.fan_in_fan_out", "adapter.fan_in_fan_out", flag),
    Key("peft_config.num_virtual_tokens", "adapter.virtual_tokens", whole),
    Key("peft_config.prefix_projection", "adapter.projection", flag),
    Key("peft_config.encoder_hidden_size", "adapter.projection_width", whole),
    Inert("peft_config.inference_mode", "training adapters train", (None, False), "write false"),
    Inert("peft_config.num_attention_heads", _MODEL),
    Inert("peft_config.num_layers", _MODEL),
    Inert("peft_config.token_dim", _MODEL),
    Inert("peft_config.base_model_name_or_path", "the model comes from model_dir of the command line"),
    *(
        Inert(f"peft_config.{name}", "it says where an adapter was saved, or by which version")
        for name in ("auto_mapping", "peft_version", "revision")
    ),
    *(
        Inert(f"peft_config.{name}", "it belongs to another way of starting or of splitting an adapter", whole=True)
        for name in (
            *("eva_config", "corda_config", "lora_ga_config", "megatron_config", "megatron_core"),
            *("runtime_config", "tokenizer_name_or_path", "tokenizer_kwargs", "prompt_tuning_init_text"),
            *("qalora_group_size", "num_transformer_submodules"),
        )
    ),
    *(
        Inert(f"peft_config.{name}", "it asks for nothing", _NOTHING, "leave it out", whole=True)
        for name in (
            *("layers_to_transform", "layers_pattern", "exclude_modules", "trainable_token_indices", "lora_bias"),
            *("target_parameters", "layer_replication", "use_qalora", "alora_invocation_tokens", "use_bdlora"),
            *("arrow_config", "kasa_config", "monteclora_config", "velora_config", "ensure_weight_tying"),
            "feedforward_modules",
        )
    ),
    Inert("peft_config.prompt_tuning_init", "a prompt starts at random", (None, "RANDOM"), "write RANDOM"),
    *(
        Inert(f"peft_config.{name}", "an adapter starts as PEFT starts it", (None, True), "write true")
        for name in ("init_weights", "init_ia3_weights")
    ),
)
