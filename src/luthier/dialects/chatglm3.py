"""ChatGLM3's finetune_demo YAML (read as YAML 1.2), and what GLM-4's copy of it added.

The folder of the rows and the model came from the command line; paths are kept as written.
"""

from __future__ import annotations

from typing import Any

from luthier.dialects.document import Document, load_yaml
from luthier.dialects.names import member
from luthier.dialects.plain_values import flag, masked, number, text, whole
from luthier.dialects.table import (
    Cannot,
    Default,
    Effect,
    Gather,
    Inert,
    Key,
    Row,
    Spread,
    Values,
    applied,
    inert,
    refused,
)
from luthier.dialects.tabular import TableDialect
from luthier.dialects.training_arguments import (
    SECRETS,
    seq2seq_rows,
    training_argument_defaults,
    training_argument_rows,
)

ARGS = "training_args."
GENERATION = ARGS + "generation_config."
KINDS = {"LORA": "lora", "PREFIX_TUNING": "prefix", "PROMPT_TUNING": "prompt", "IA3": "ia3"}
INPUT, OUTPUT = 128, 256
"""Longest prompt and answer where a file leaves them out."""


def rows_of(part: str) -> Any:
    """A file of conversations, below the folder that the command line named."""

    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: there are no such rows")
        made = {f"data.{part}.0.path": text(value), f"data.{part}.0.format": "messages"}
        return applied(made, "below data_dir of the command line")

    return spread


def lengths(values: Values) -> Effect:
    """``max_input_length`` and ``max_output_length``: one budget for both, and a token for the end."""
    longest_in, longest_out = values.get("max_input_length"), values.get("max_output_length")
    total = whole(INPUT if longest_in is None else longest_in) + whole(OUTPUT if longest_out is None else longest_out)
    return applied({"data.max_length": total + 1}, "training had one budget: prompt, answer and the end token together")


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


def on_cpu(value: Any, values: Values) -> Effect:
    """``use_cpu`` (once ``no_cuda``), which also cast every parameter to fp32."""
    asked = [values.get(ARGS + name) for name in ("use_cpu", "no_cuda")]
    if any(one is not None and flag(one) for one in asked):
        return applied({"runtime.device": "cpu", "model.dtype": "fp32"}, "on a CPU every weight was cast to fp32")
    return applied({"runtime.device": "auto"})


def _sampling(values: Values) -> bool:
    given = values.get(GENERATION + "do_sample")
    return given is not None and flag(given)


def sampled(target: str, convert: Any) -> Any:
    """Constants of sampling, which count only where there is sampling."""

    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: left at the default")
        return (
            applied({target: convert(value)}) if _sampling(values) else inert("do_sample is off: the likeliest token")
        )

    return spread


def sampling(value: Any, values: Values) -> Effect:
    """``do_sample``: off is the likeliest token, temperature 0."""
    if not _sampling(values):
        return applied({"evaluate.generation.temperature": 0.0}, "off: the likeliest token")
    given = values.get(GENERATION + "temperature")
    return applied({"evaluate.generation.temperature": 1.0 if given is None else number(given)})


def combine(value: Any, values: Values) -> Effect:
    """GLM-4's copy: a conversation is one sample whose last answer alone is learned."""
    if value is None or not flag(value):
        return inert("off: every answer is learned")
    return applied({"data.last_turn_only": True}, "GLM-4's copy of the demo has it: only the last answer is learned")


def one_sequence(value: Any, values: Values) -> Effect:
    """``num_return_sequences``."""
    if value is None or whole(value) == 1:
        return inert("one answer each")
    return refused("one answer is generated for each question", "write 1")


_MODEL = "it is read from the model itself"
_SAME = "ids of the model's own end tokens are used, as the demo did"

OWN: tuple[Row, ...] = (
    Spread("data_config.train_file", ("data.train.*.path", "data.train.*.format"), rows_of("train")),
    Spread("data_config.val_file", ("data.evaluate.*.path", "data.evaluate.*.format"), rows_of("evaluate")),
    Spread("data_config.test_file", ("data.test.*.path", "data.test.*.format"), rows_of("test")),
    Key("data_config.num_proc", "data.workers", whole),
    Gather("max_input_length", ("data.max_length",), lengths),
    Gather("max_output_length", ("data.max_length",), lengths),
    Spread("combine", ("data.last_turn_only",), combine),
    Inert("freezeV", "GLM-4's copy of the demo froze a vision tower with it; a language model has none"),
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
    Key("peft_config.fan_in_fan_out", "adapter.fan_in_fan_out", flag),
    Key("peft_config.num_virtual_tokens", "adapter.virtual_tokens", whole),
    Inert("peft_config.prefix_projection", "the prefix is trained as it is", (None, False), "write false"),
    Inert("peft_config.inference_mode", "training adapters train", (None, False), "write false"),
    Inert("peft_config.num_attention_heads", _MODEL),
    Inert("peft_config.num_layers", _MODEL),
    Inert("peft_config.token_dim", _MODEL),
    Inert("peft_config.encoder_hidden_size", _MODEL),
    Inert("peft_config.base_model_name_or_path", "the model comes from model_dir of the command line"),
    Spread(ARGS + "use_cpu", ("runtime.device", "model.dtype"), on_cpu),
    Spread(ARGS + "no_cuda", ("runtime.device", "model.dtype"), on_cpu),
    Inert(ARGS + "generation_config", "nothing in it", (None, {}), "write its settings below it"),
    Key(GENERATION + "max_new_tokens", "evaluate.generation.max_new_tokens", whole),
    Spread(GENERATION + "do_sample", ("evaluate.generation.temperature",), sampling),
    Spread(
        GENERATION + "temperature",
        ("evaluate.generation.temperature",),
        sampled("evaluate.generation.temperature", number),
    ),
    Spread(GENERATION + "top_p", ("evaluate.generation.top_p",), sampled("evaluate.generation.top_p", number)),
    Spread(GENERATION + "top_k", ("evaluate.generation.top_k",), sampled("evaluate.generation.top_k", whole)),
    Key(GENERATION + "num_beams", "evaluate.generation.beams", whole),
    Key(GENERATION + "repetition_penalty", "evaluate.generation.repetition_penalty", number),
    Spread(GENERATION + "num_return_sequences", (), one_sequence),
    Inert(GENERATION + "max_length", "max_new_tokens says how long an answer may be", (None,), "write max_new_tokens"),
    Inert(GENERATION + "use_cache", "generation always keeps keys and values"),
    Inert(GENERATION + "pad_token_id", _SAME),
    Inert(GENERATION + "eos_token_id", _SAME),
    Inert(GENERATION + "bos_token_id", _SAME),
)

_OWN_NAMES = {name for row in OWN for name in row.names}

ROWS = (*(row for row in (*training_argument_rows(ARGS), *seq2seq_rows(ARGS)) if row.name not in _OWN_NAMES), *OWN)


def _full(values: Values) -> bool:
    return values.get("peft_config.peft_type") is None


def _lora(values: Values) -> bool:
    return str(values.get("peft_config.peft_type")).rsplit(".", 1)[-1].upper() == "LORA"


def _fp32(values: Values) -> bool:
    return _full(values) or any(str(values.get(ARGS + name)).lower() == "true" for name in ("use_cpu", "no_cuda"))


def _half_given(values: Values) -> bool:
    return any(values.get(ARGS + name) is not None for name in ("fp16", "bf16"))


DEFAULTS: tuple[Default, ...] = (
    Default("max_input_length", INPUT, {"data.max_length": INPUT + OUTPUT + 1}),
    Default("validation_rows", 50, {"evaluate.rows": 50}, "the first 50 turns; fewer are all of them"),
    Default("template", "chatglm3", {"data.template": "chatglm3"}, "the demo knows ChatGLM3's roles and no others"),
    Default("truncation", "right", {"data.overlong": "truncate"}),
    Default("packing", False, {"pack.kind": "none"}),
    Default("peft_config", None, {"adapter.kind": "none"}, "all weights train", _full),
    Default("peft_config.r", 8, {"adapter.rank": 8}, "PEFT's own", _lora),
    Default("peft_config.lora_alpha", 8, {"adapter.alpha": 8.0}, "PEFT's own", _lora),
    Default("peft_config.lora_dropout", 0.0, {"adapter.dropout": 0.0}, "PEFT's own", _lora),
    Default(
        "peft_config.target_modules", None, {"adapter.targets": ["query_key_value"]}, "PEFT's own for ChatGLM", _lora
    ),
    Default(
        ARGS + "gradient_checkpointing", True, {"runtime.gradient_checkpointing": True}, "the demo always turned it on"
    ),
    Default(
        ARGS + "predict_with_generate",
        True,
        {"evaluate.generate": True},
        "the demo could not evaluate without",
        lambda values: _has(values, "test"),
    ),
    Default(
        "metrics",
        "rouge and BLEU",
        {"evaluate.metrics": ["rouge-1", "rouge-2", "rouge-l", "bleu-4"]},
        "of words as jieba cuts them",
        lambda values: values.get(ARGS + "predict_with_generate") is not False and _has(values, "test"),
    ),
    Default(
        "precision",
        "fp16",
        {"precision.compute": "fp16"},
        "frozen weights computed in the fp16 they are stored in",
        lambda values: not _fp32(values) and not _half_given(values),
    ),
    *training_argument_defaults(ARGS),
)


def _has(values: Values, part: str) -> bool:
    return values.get(f"data_config.{part}_file") is not None


def parse(source: str, name: str) -> Document:
    """The file as YAML 1.2; tokens are masked."""
    return masked(load_yaml(source, name), *(ARGS + one for one in SECRETS))


def recognises(document: Document) -> bool:
    """Whether the file has the demo's sections."""
    return {"data_config", "training_args"} <= set(document.value)


CHATGLM3 = TableDialect(name="chatglm3", rows=ROWS, defaults=DEFAULTS, parse=parse, recognises=recognises)
