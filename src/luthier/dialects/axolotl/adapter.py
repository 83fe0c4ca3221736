"""Axolotl's keys of adapters and quantised weights."""

from __future__ import annotations

from typing import Any

from luthier.dialects.axolotl.preference import PREFERENCES
from luthier.dialects.axolotl.values import flag, instead, mapping, named, names, number, one_of, text, truth, whole
from luthier.dialects.companion import yielding
from luthier.dialects.preference_losses import NO_DROPOUT
from luthier.dialects.table import (
    Cannot,
    Default,
    Effect,
    Gather,
    Inert,
    Key,
    Refused,
    Row,
    Spread,
    Values,
    applied,
    inert,
    replaced,
)

_NOT_LINEAR = ("lm_head", "embed_tokens", "wte", "embed_out")
_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "uint8": "uint8", "auto": "auto"}
_NAMED_INITS = ("gaussian", "pissa", "olora", "loftq", "orthogonal")
_INITS: dict[Any, str] = {**{name: name for name in _NAMED_INITS}, True: "default"}
_INIT_REMEDY = f"use one of: true, {', '.join(_NAMED_INITS)}"
_RELORA = ("prune_ratio", "prune_method", "cpu_offload", "steps", "warmup_steps", "anneal_steps")


def has_adapter(values: Values) -> bool:
    """Whether the file trains an adapter."""
    return values.get("adapter") in ("lora", "qlora")


def _adapter(value: Any, values: Values) -> Effect:
    if value in (None, False, ""):
        return applied({"adapter.kind": "none"}, "null: the model's own weights train")
    if value == "lora":
        return applied({"adapter.kind": "lora"})
    if value != "qlora":
        raise Cannot(f"{value!r} adapters are not there", "write lora or qlora")
    if not truth(values.get("load_in_4bit")):
        raise Cannot("qlora is lora on 4-bit weights, and load_in_4bit is not on", "write load_in_4bit: true")
    return applied({"adapter.kind": "lora"}, "lora on 4-bit weights")


def _judged(value: Any, values: Values) -> Effect | None:
    judged = values.get("rl") in PREFERENCES or truth(values.get("reward_model"))
    return replaced({"adapter.dropout": 0.0}, NO_DROPOUT) if judged and value is not None else None


def _bits(values: Values) -> Effect:
    four, eight = flag(values.get("load_in_4bit") or False), flag(values.get("load_in_8bit") or False)
    if four and eight:
        raise Cannot("weights are held in 4 bits or in 8", "keep one of load_in_4bit and load_in_8bit")
    if eight and values.get("adapter") == "qlora":
        raise Cannot("qlora takes 4-bit weights", "write load_in_4bit, or adapter: lora")
    return applied({"quantise.bits": 4 if four else 8 if eight else 16})


def _within(modules: list[str], values: Values) -> str:
    """One expression for these modules in the named layers alone, as PEFT finds a layer's number in a module's path."""
    layers = values.get("peft_layers_to_transform")
    numbers = "|".join(str(whole(one)) for one in (layers if isinstance(layers, list) else [layers]))
    lists = values.get("peft_layers_pattern")
    above = "|".join(names(lists)) if lists else "[^.]*"
    return rf"(?:.*\.)?(?:{above})\.(?:{numbers})\.(?:.*\.)?(?:{'|'.join(modules)})"


def _targets(values: Values) -> Effect:
    modules = values.get("lora_target_modules")
    if values.get("peft_layers_to_transform") not in (None, []):
        if truth(values.get("lora_target_linear")) or not isinstance(modules, list):
            raise Cannot("some layers of all modules cannot be named", "list the modules in lora_target_modules")
        return applied({"adapter.targets": _within(modules, values)}, "these modules of these layers alone")
    if not truth(values.get("lora_target_linear")):
        if not modules:
            return inert("it names no layer")
        return applied({"adapter.targets": modules if isinstance(modules, str) else names(modules)})
    if isinstance(modules, str) or any(name.split(".")[-1] in _NOT_LINEAR for name in modules or ()):
        raise Cannot(
            "all linear layers and others beside them cannot be had", "keep lora_target_linear or lora_target_modules"
        )
    return applied({"adapter.targets": "all-linear"}, "every linear layer but the output layer")


def _init(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("pissa_niter"):
        return "pissa"
    return one_of("peft_init_lora_weights", _INITS, _INIT_REMEDY)(value)


def _loftq(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    if whole(value) != 4:
        raise Cannot("LoftQ is there for 4 bits alone", "write 4")
    return applied({"adapter.init": "loftq"})


def _unused(values: Values) -> bool:
    return has_adapter(values) and not values.get("lora_target_linear") and not values.get("lora_target_modules")


ADAPTER: tuple[Row, ...] = (
    Spread("adapter", ("adapter.kind",), _adapter),
    Gather("load_in_4bit", ("quantise.bits",), _bits),
    Gather("load_in_8bit", ("quantise.bits",), _bits),
    Key("lora_r", "adapter.rank", whole),
    Key("lora_alpha", "adapter.alpha", number),
    yielding(Key("lora_dropout", "adapter.dropout", number), _judged),
    Key("lora_fan_in_fan_out", "adapter.fan_in_fan_out", flag),
    Gather("lora_target_linear", ("adapter.targets",), _targets),
    Gather("lora_target_modules", ("adapter.targets",), _targets),
    Key("lora_modules_to_save", "adapter.modules_to_save", names),
    Key("lora_rank_pattern", "adapter.rank_pattern", mapping, whole=True),
    Key("lora_alpha_pattern", "adapter.alpha_pattern", mapping, whole=True),
    Spread("lora_model_dir", ("adapter.continue_from",), named("adapter.continue_from")),
    Key("peft_use_dora", "adapter.dora", flag),
    Key("peft_use_rslora", "adapter.rslora", flag),
    Key("peft_init_lora_weights", "adapter.init", _init),
    Spread("peft.loftq_config.loftq_bits", ("adapter.init",), _loftq),
    Inert("peft", "it names nothing", only=(None, {})),
    Inert("peft.loftq_config", "it names nothing", only=(None, {})),
    Key("bnb_config_kwargs.bnb_4bit_use_double_quant", "quantise.double", flag),
    Key("bnb_config_kwargs.bnb_4bit_quant_type", "quantise.kind", text),
    Key("bnb_config_kwargs.bnb_4bit_compute_dtype", "quantise.compute", one_of("compute", _DTYPES, "use bfloat16")),
    Key("bnb_config_kwargs.bnb_4bit_quant_storage", "quantise.storage", one_of("storage", _DTYPES, "use uint8")),
    Inert("bnb_config_kwargs", "it names nothing", only=(None, {})),
    Key("merge_lora", "output.merge", flag),
    Inert("merge_method", "merging is exact by either way, and goes layer by layer"),
    Inert("lora_on_cpu", "where an adapter is loaded does not change it"),
    Inert("qlora_sharded_model_loading", "how fast weights are loaded does not change them"),
    Inert(
        "peft_autocast_adapter_dtype", "an adapter is held in full precision", only=(None, True), remedy="leave it out"
    ),
    Refused(
        "lora_target_parameters",
        "adapters on the experts' bare parameters are not there",
        "name layers in lora_target_modules",
        (None, []),
    ),
    Gather("peft_layers_to_transform", ("adapter.targets",), _targets),
    Inert("peft_layers_pattern", "read with peft_layers_to_transform: what the list of layers is called"),
    Refused("peft_layer_replication", "layers are not replicated", "leave it out", (None, [])),
    Refused(
        "peft_trainable_token_indices",
        "single rows of an embedding cannot train",
        "name embed_tokens in lora_modules_to_save",
        (None, [], {}),
        whole=True,
    ),
    Refused("peft_ensure_weight_tying", "tied trained copies are not there", "name one of embed_tokens and lm_head"),
    Refused("gptq", "GPTQ weights are not there", "name the unquantised model and write load_in_4bit: true"),
    Refused("load_4bit", "GPTQ weights are not there", "name the unquantised model and write load_in_4bit: true"),
    *(Inert(f"gptq_{name}", "it belongs to gptq") for name in ("groupsize", "model_v1", "disable_exllama", "bits")),
    Inert("lora_out_dir", "the adapter is saved below output_dir"),
    Refused("relora", "restarting a merged LoRA is not there", "write adapter: lora alone"),
    *(
        Inert(f"relora_{name}", "it belongs to relora or its schedule, which is refused by its own key")
        for name in _RELORA
    ),
    Refused("mora", "MoRA is not there", "write adapter: lora", (None, False, {}), whole=True),
    Refused("lisa_n_layers", "LISA's drawing of layers is not there", "name layers in unfrozen_parameters"),
    Inert("lisa_step_interval", "it belongs to lisa_n_layers"),
    Inert("lisa_layers_attribute", "it belongs to lisa_n_layers"),
    *(
        Spread(name, (), instead("a fused kernel for the same numbers; Luthier uses the plain ones"))
        for name in ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")
    ),
)

DEFAULTS: tuple[Default, ...] = (
    Default("adapter", None, {"adapter.kind": "none"}, "the model's own weights train"),
    Default("lora_r", 8, {"adapter.rank": 8}, "PEFT's own default", has_adapter),
    Default("lora_alpha", 8, {"adapter.alpha": 8.0}, "PEFT's own default", has_adapter),
    Default("lora_dropout", 0.0, {"adapter.dropout": 0.0}, when=has_adapter),
    Default(
        "lora_target_modules",
        None,
        {"adapter.targets": "all-linear"},
        "PEFT chose by the model's name; Luthier takes every linear layer but the output layer",
        _unused,
    ),
    Default(
        "bnb_config_kwargs.bnb_4bit_use_double_quant",
        True,
        {"quantise.double": True, "quantise.kind": "nf4"},
        "4-bit weights are NF4 with quantised scales",
        lambda values: truth(values.get("load_in_4bit")),
    ),
)
