"""Axolotl's keys of the model and its tokenizer."""

from __future__ import annotations

from typing import Any

from luthier.dialects.axolotl.values import flag, instead, named, names, text
from luthier.dialects.table import Effect, Inert, Key, Refused, Row, Spread, Values, inert, refused

_FROM_CONFIG = "the architecture is read from the model's own config.json"


def _model_class(value: Any, values: Values) -> Effect:
    if value is None or text(value).endswith("ForCausalLM"):
        return inert(_FROM_CONFIG)
    if text(value).startswith("AutoModelForSequence") and values.get("reward_model"):
        return inert("reward_model says the same")
    return refused(f"{value} is no causal language model", "choose a base_model with a ...ForCausalLM class")


def _model_config(value: Any, values: Values) -> Effect:
    if value is None or value == values.get("base_model"):
        return inert(_FROM_CONFIG)
    return refused(
        "a config apart from its weights cannot be told from a mistake",
        "put that config.json beside a copy of the weights, and name the folder in base_model",
    )


def _config_class(value: Any, values: Values) -> Effect:
    if value is None or text(value) == "AutoConfig":
        return inert(_FROM_CONFIG)
    return refused(
        f"{value} is the name of a class of configs, and the model's own config.json says which class it is",
        "leave it out, or correct model_type in the config.json of a copy of the model",
    )


def _tokenizer_class(value: Any, values: Values) -> Effect:
    note = "the tokenizer's own files say which class it is; the fast one is used, and slow ones are converted"
    return inert(note)


_COPY = "change config.json in a copy of the model, and name the folder in base_model"

MODEL: tuple[Row, ...] = (
    Spread("base_model", ("model.path",), named("model.path")),
    Key("model_revision", "model.revision", text, old=("revision_of_model",)),
    Spread("model_type", (), _model_class, old=("type_of_model",)),
    Spread("base_model_config", (), _model_config),
    Spread("cls_model_config", (), _config_class),
    Inert(
        "trust_remote_code",
        "a file cannot allow code from a model to run: models that transformers knows need none, and for others only "
        "the user's own word counts",
    ),
    Inert("base_model_ignore_patterns", "only safetensors files are downloaded"),
    Inert(
        "strict",
        "it only says whether words on the command line may add keys; it never checked weights against the model",
    ),
    Key("unfrozen_parameters", "model.trainable", names, note="regular expressions, matched from a name's beginning"),
    Key(
        "resize_token_embeddings_to_32x",
        "model.vocabulary_multiple",
        lambda value: 32 if flag(value) else 1,
    ),
    Refused(
        "overrides_of_model_config", "a model's shape is its own", _COPY, (None, {}), old=("model_config",), whole=True
    ),
    Refused(
        "overrides_of_model_kwargs",
        "loading takes no further words",
        "leave it out",
        (None, {}),
        old=("model_kwargs",),
        whole=True,
    ),
    Refused("rope_scaling", "a model's positions are its own", _COPY, (None, {}), whole=True),
    Refused("reinit_weights", "it throws the trained weights away", "write model.scratch in a recipe of Luthier's own"),
    Refused(
        "model_quantization_config", "weights stored in MXFP4 or FP8 cannot be read", "name a model stored in bf16"
    ),
    Inert("model_quantization_config_kwargs", "it belongs to model_quantization_config", whole=True),
    Refused("use_onebitllms", "one-bit weights are not there", "name a model stored in bf16"),
    Inert("shrink_embeddings", "rows of the embedding that no token has are kept: they cost memory and change nothing"),
    Refused("mean_resizing_embeddings", "new rows are not drawn from the mean of the old ones", "leave it out"),
    Inert("embeddings_skip_upcast", "what is trained is held in model.dtype, embeddings too"),
    Inert("fix_untrained_tokens", "no row of the embedding is left untouched by the optimiser", only=(None, False, [])),
    Refused("processor_type", "images and sound are not there", "train the text model alone"),
    Inert("processor_kwargs", "it belongs to processor_type", whole=True),
    Inert("torch_dtype", "Axolotl sets it itself, from bf16 and fp16"),
    Inert("is_falcon_derived_model", _FROM_CONFIG),
    Inert("is_llama_derived_model", _FROM_CONFIG),
    Inert("is_mistral_derived_model", _FROM_CONFIG),
    Inert("is_qwen_derived_model", _FROM_CONFIG),
    Inert("low_cpu_mem_usage", "weights are always read one after the other"),
    Inert("experimental_skip_move_to_device", "weights are read straight to where they stay"),
    Inert("device_map", "the engine places the weights", whole=True),
    Inert("device", "Axolotl fills it in itself"),
    Inert("max_memory", "the engine places the weights", whole=True),
    Inert("gpu_memory_limit", "the engine places the weights; the plan says beforehand whether they fit"),
)

TOKENIZER: tuple[Row, ...] = (
    Spread("tokenizer_config", ("tokenizer.path",), named("tokenizer.path")),
    Spread("tokenizer_type", (), _tokenizer_class),
    Inert("tokenizer_use_fast", "the fast tokenizer is always used"),
    Inert("tokenizer_legacy", "it governed how slow tokenizers split text after a control token; none is used"),
    Refused(
        "tokenizer_use_mistral_common",
        "Mistral's own tokenizer package is not used",
        "use the tokenizer.json of the model",
    ),
    Inert("tokenizer_save_jinja_files", "the template is saved with the tokenizer in either form"),
    Inert("special_tokens", "no token is named", only=(None, {}, [])),
    Key("special_tokens.bos_token", "tokenizer.bos", text, old=("tokens.bos_token",)),
    Key("special_tokens.eos_token", "tokenizer.eos", text, old=("tokens.eos_token",)),
    Key(
        "special_tokens.pad_token",
        "tokenizer.pad",
        text,
        old=("tokens.pad_token",),
        note="saved with the tokenizer; Luthier pads nothing and masks by position",
    ),
    Key("special_tokens.unk_token", "tokenizer.unk", text, old=("tokens.unk_token",)),
    Key("special_tokens.additional_special_tokens", "tokenizer.added_special", names),
    Key("tokens", "tokenizer.added", names),
    Refused(
        "added_tokens_overrides",
        "reserved tokens cannot be renamed",
        "add new ones under tokens",
        (None, {}),
        whole=True,
    ),
    Spread(
        "eot_tokens",
        (),
        instead("a chat_template dataset learns these, and the end token, as its turn_ends"),
    ),
)
