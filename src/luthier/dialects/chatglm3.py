"""ChatGLM3's finetune_demo YAML (read as YAML 1.2), and what GLM-4's copy of it added.

The folder of the rows and the model came from the command line; paths are kept as written.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from luthier.dialects.chatglm3_peft import PEFT
from luthier.dialects.deepspeed import UNCLIPPED, deepspeed_companions, names_deepspeed, under_deepspeed
from luthier.dialects.document import Document, load_yaml
from luthier.dialects.plain_values import flag, masked, number, text, whole
from luthier.dialects.table import (
    VANISHED,
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
from luthier.dialects.tabular import Companion, TableDialect
from luthier.dialects.training_arguments import (
    SECRETS,
    seq2seq_rows,
    training_argument_defaults,
    training_argument_rows,
)

ARGS = "training_args."
GENERATION = ARGS + "generation_config."
PROMPT = "evaluate.generation.max_prompt_length"
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


def answered(value: Any, values: Values) -> Effect:
    """``test_file``: rows that the demo answered at the end, where it generated at all."""
    found = rows_of("test")(value, values)
    given = values.get(ARGS + "predict_with_generate")
    generates = given is None or flag(given)
    return applied({**found.settings, "evaluate.generate": generates}, found.note) if found.settings else found


def lengths(values: Values) -> Effect:
    """``max_input_length`` and ``max_output_length``: one budget for both, and a token for the end; a turn whose prompt
    filled the first was not asked."""
    longest_in, longest_out = values.get("max_input_length"), values.get("max_output_length")
    total = whole(INPUT if longest_in is None else longest_in) + whole(OUTPUT if longest_out is None else longest_out)
    return applied(
        {"data.max_length": total + 1, PROMPT: whole(INPUT if longest_in is None else longest_in)},
        "training had one budget for prompt, answer and end token together, cut on the right",
    )


def on_cpu(value: Any, values: Values) -> Effect:
    """``use_cpu`` (once ``no_cuda``), which also cast every parameter to fp32."""
    asked = [values.get(ARGS + name) for name in ("use_cpu", "no_cuda")]
    if any(one is not None and flag(one) for one in asked):
        return applied(
            {"runtime.device": "cpu", "model.dtype": "fp32"}, "the demo then cast every weight to fp32, and so it is"
        )
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


_COMBINED = (
    "a key of a copy of the demo for GLM-4: a conversation is one sample, whose last answer alone is learned; the "
    "published copies no longer have it, so this meaning could not be checked against the code"
)


def combine(value: Any, values: Values) -> Effect:
    """GLM-4's copy: a conversation is one sample whose last answer alone is learned."""
    if value is None or not flag(value):
        return inert("off: every answer is learned")
    return applied({"data.last_turn_only": True}, _COMBINED)


def one_sequence(value: Any, values: Values) -> Effect:
    """``num_return_sequences``."""
    if value is None or whole(value) == 1:
        return inert("one answer each")
    return refused("one answer is generated for each question", "write 1")


_SAME = "ids of the model's own end tokens are used, as the demo did"

OWN: tuple[Row, ...] = (
    Spread("data_config.train_file", ("data.train.*.path", "data.train.*.format"), rows_of("train")),
    Spread("data_config.val_file", ("data.evaluate.*.path", "data.evaluate.*.format"), rows_of("evaluate")),
    Spread("data_config.test_file", ("data.test.*.path", "data.test.*.format", "evaluate.generate"), answered),
    Key("data_config.num_proc", "data.workers", whole),
    Gather("max_input_length", ("data.max_length", PROMPT), lengths),
    Gather("max_output_length", ("data.max_length", PROMPT), lengths),
    Spread("combine", ("data.last_turn_only",), combine),
    Inert("freezeV", "GLM-4's copy of the demo froze a vision tower with it; a language model has none"),
    *PEFT,
    Spread(ARGS + "use_cpu", ("runtime.device", "model.dtype"), on_cpu),
    Spread(ARGS + "no_cuda", ("runtime.device", "model.dtype"), on_cpu),
    Spread(ARGS + "deepspeed", ("parallel.engine", "parallel.deepspeed"), names_deepspeed, whole=True),
    Key(
        ARGS + "predict_with_generate",
        "evaluate.generate_during",
        flag,
        note="the demo's evaluation crashed where it was off; here off only leaves the answers out",
    ),
    Inert(ARGS + "generation_config", "nothing in it", (None, {}), "write its settings below it"),
    Key(GENERATION + "max_new_tokens", "evaluate.generation.max_new_tokens", whole),
    Key(GENERATION + "min_new_tokens", "evaluate.generation.min_new_tokens", whole),
    Spread(GENERATION + "do_sample", ("evaluate.generation.temperature",), sampling),
    Spread(
        GENERATION + "temperature",
        ("evaluate.generation.temperature",),
        sampled("evaluate.generation.temperature", number),
    ),
    Spread(GENERATION + "top_p", ("evaluate.generation.top_p",), sampled("evaluate.generation.top_p", number)),
    Spread(GENERATION + "top_k", ("evaluate.generation.top_k",), sampled("evaluate.generation.top_k", whole)),
    Key(GENERATION + "num_beams", "evaluate.generation.beams", whole),
    Key(GENERATION + "length_penalty", "evaluate.generation.length_penalty", number),
    Key(GENERATION + "repetition_penalty", "evaluate.generation.repetition_penalty", number),
    Spread(GENERATION + "num_return_sequences", (), one_sequence),
    Inert(GENERATION + "max_length", "max_new_tokens says how long an answer may be", (None,), "write max_new_tokens"),
    Inert(GENERATION + "use_cache", "generation always keeps keys and values"),
    Inert(GENERATION + "pad_token_id", _SAME),
    Inert(GENERATION + "eos_token_id", _SAME),
    Inert(GENERATION + "bos_token_id", _SAME),
)

_OWN_NAMES = {name for row in OWN for name in row.names}

ROWS = (
    *under_deepspeed(
        tuple(row for row in (*training_argument_rows(ARGS), *seq2seq_rows(ARGS)) if row.name not in _OWN_NAMES), ARGS
    ),
    *OWN,
)


def _glm4(values: Values) -> bool:
    """Whether the file shows keys that only GLM-4's copy of the demo has."""
    return any(key in values for key in ("combine", "freezeV"))


def _full(values: Values) -> bool:
    return values.get("peft_config.peft_type") is None


def _lora(values: Values) -> bool:
    return str(values.get("peft_config.peft_type")).rsplit(".", 1)[-1].upper() == "LORA"


def _fp32(values: Values) -> bool:
    return _full(values) or any(str(values.get(ARGS + name)).lower() == "true" for name in ("use_cpu", "no_cuda"))


def _half_given(values: Values) -> bool:
    return any(values.get(ARGS + name) is not None for name in ("fp16", "bf16"))


DEFAULTS: tuple[Default, ...] = (
    Default("max_input_length", INPUT, {"data.max_length": INPUT + OUTPUT + 1, PROMPT: INPUT}),
    Default(
        "validation_rows", 50, {"evaluate.rows": 50}, "the first 50 turns; fewer, which crashed there, are all of them"
    ),
    Default(
        "auto_resume_from_checkpoint",
        "",
        {"checkpoint.resume": "auto"},
        "the last word of the demo's command line: left out the demo started anew, and here a run that was broken off "
        "goes on from its own newest checkpoint (checkpoint.resume=never starts anew); yes and a number are a "
        "checkpoint; no trained nothing and only predicted, although its help promised a restart",
    ),
    Default("template", "tokenizer", {"data.template": "auto"}, "GLM-4's copy used the tokenizer's own", _glm4),
    Default("template", "chatglm3", {"data.template": "chatglm3"}, "the demo knows ChatGLM3's roles and no others"),
    Default("truncation", "right", {"data.overlong": "truncate", "data.vanished": "drop"}, VANISHED),
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
        {"evaluate.generate_during": True},
        "the demo could not evaluate without",
        lambda values: _has(values, "val"),
    ),
    Default(
        "metrics",
        "rouge and BLEU",
        {"evaluate.metrics": ["rouge-1", "rouge-2", "rouge-l", "bleu-4"]},
        "of words as jieba cuts them",
        lambda values: (
            values.get(ARGS + "predict_with_generate") is not False and (_has(values, "val") or _has(values, "test"))
        ),
    ),
    Default(
        "precision",
        "bf16",
        {"precision.compute": "bf16"},
        "GLM-4's weights are held in bf16",
        lambda values: _glm4(values) and not _fp32(values) and not _half_given(values),
    ),
    Default(
        "precision",
        "fp16",
        {"precision.compute": "fp16"},
        "frozen weights computed in the fp16 they are stored in",
        lambda values: not _fp32(values) and not _half_given(values),
    ),
    replace(UNCLIPPED, name=ARGS + UNCLIPPED.name),
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


def companions(document: Document, folder: Path) -> list[Companion]:
    """The DeepSpeed file of ``training_args.deepspeed``."""
    return deepspeed_companions(document, folder, "training_args")


CHATGLM3 = TableDialect(
    name="chatglm3",
    rows=ROWS,
    defaults=DEFAULTS,
    parse=parse,
    recognises=recognises,
    companions=companions,
)
