"""Firefly's JSON: TrainingArguments, and keys of its own for the rows, the template and the adapter.

Three generations: today's; the one before 2024, which had no templates; and a fork that reads a CSV of questions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.dialects.companion import yielding
from luthier.dialects.deepspeed import deepspeed_companions, under_deepspeed
from luthier.dialects.document import Document
from luthier.dialects.json_document import load_json
from luthier.dialects.names import member
from luthier.dialects.plain_values import flag, masked, number, text, whole
from luthier.dialects.preference_losses import NO_DROPOUT
from luthier.dialects.table import (
    VANISHED,
    Cannot,
    Default,
    Effect,
    Inert,
    Key,
    Row,
    Spread,
    Values,
    applied,
    inert,
    replaced,
)
from luthier.dialects.tabular import TableDialect
from luthier.dialects.training_arguments import SECRETS, training_argument_defaults, training_argument_rows
from luthier.errors import nearest

TEMPLATES = (
    *("default", "internlm", "internlm2", "qwen", "yi", "orion", "deepseek", "chatglm2", "chatglm3", "ziya2", "xverse"),
    *("minicpm", "minicpm3", "zephyr", "mistral", "mixtral", "baichuan", "baichuan2", "vicuna", "llama2", "llama3"),
    *("gemma", "phi3"),
)

UNTEMPLATED = "firefly/untemplated"
"""The older generation's only format: ``<s>question</s>answer</s>``."""

MODES = ("lora", "qlora", "full")
TASKS = ("sft", "pretrain", "dpo")
FORMATS = {"sft": "messages", "pretrain": "text", "dpo": "pairs"}


def _task(values: Values) -> str:
    given = values.get("task_type")
    return "sft" if given is None else member(given, TASKS, "task")


def _mode(values: Values) -> str:
    given = values.get("train_mode")
    if given is not None:
        return member(given, MODES, "mode")
    return "full" if _older(values) and not any(key.startswith("lora_") for key in values) else "qlora"


def _older(values: Values) -> bool:
    """Whether the file shows none of the keys that came with templates."""
    return values.get("template_name") is None and values.get("task_type") is None


def _adapter(mode: str) -> dict[str, Any]:
    if mode == "full":
        return {"adapter.kind": "none"}
    quantised = {"quantise.bits": 4, "quantise.kind": "nf4", "quantise.double": True} if mode == "qlora" else {}
    return {"adapter.kind": "lora", **quantised}


def train_mode(value: Any, values: Values) -> Effect:
    """lora, qlora (4-bit NF4 with quantised scales) or full."""
    return inert("null: left at the default") if value is None else applied(_adapter(_mode(values)))


def task_type(value: Any, values: Values) -> Effect:
    """sft, pretrain or dpo."""
    return inert("null: left at the default") if value is None else applied({"method.kind": _task(values)})


def template_name(value: Any, values: Values) -> Effect:
    """A name of Firefly's own registry, which is not the model's type."""
    if value is None:
        return inert("null: left at the default")
    name = text(value)
    if name not in TEMPLATES:
        near = nearest(name, TEMPLATES)
        raise Cannot(
            f"{name!r} is no template of Firefly",
            f"did you mean {near}?" if near else f"write one of: {', '.join(TEMPLATES)}",
        )
    return applied({"data.template": f"firefly/{name}"}, "a name of Firefly's own; the model's type does not matter")


def train_file(value: Any, values: Values) -> Effect:
    """A JSONL file, or for pretraining a folder of them."""
    if value is None:
        return inert("null: left at the default")
    return applied({"data.train.0.path": text(value), "data.train.0.format": FORMATS[_task(values)]})


def question_table(value: Any, values: Values) -> Effect:
    """The fork's ``train_file_path`` and ``train_file_name``: a CSV of category, human, assistant."""
    folder, name = values.get("train_file_path"), values.get("train_file_name")
    if folder is None or name is None:
        missing = "train_file_name" if name is None else "train_file_path"
        raise Cannot(f"it needs {missing} beside it", "write both, or train_file")
    path = f"{text(folder).rstrip('/')}/csv/{text(name)}"
    return applied(
        {"data.train.0.path": path, "data.train.0.format": "human_assistant", "data.train.0.as_jsonl": True},
        "the table is written out as JSONL, one turn a row, before it is read, as the fork did",
    )


def _judged(value: Any, values: Values) -> Effect | None:
    judged = value is not None and _task(values) == "dpo"
    return replaced({"adapter.dropout": 0.0}, NO_DROPOUT) if judged else None


def _half(name: str, other: str) -> Any:
    def spread(value: Any, values: Values) -> Effect:
        chosen = value is not None and flag(value)
        rival = values.get(other) is not None and flag(values[other])
        if chosen == rival:
            raise Cannot(f"exactly one of {name} and {other} has to be on", "set one of them to true")
        if not chosen:
            return inert(f"{other} decides")
        settings = {"precision.compute": name}
        if _mode(values) != "full":
            settings["model.dtype"] = name
        if _mode(values) == "qlora":
            settings["quantise.compute"] = name
        return applied(settings, "frozen weights are held in it too" + _CPU[name])

    return spread


_CPU = {"fp16": "; a CPU has no fast fp16, so there it computes in bf16", "bf16": ""}


def unsloth(value: Any, values: Values) -> Effect:
    """Other kernels with the same result, which came with gradient checkpointing."""
    if value is None or not flag(value):
        return inert("off")
    made = {} if values.get("gradient_checkpointing") is False else {"runtime.gradient_checkpointing": True}
    return replaced(made, "its kernels change speed and memory only; gradient checkpointing came with it")


OWN: tuple[Row, ...] = (
    Key("model_name_or_path", "model.path", text),
    Spread("train_file", ("data.train.*.path", "data.train.*.format"), train_file),
    Spread("train_file_path", ("data.train.*.path", "data.train.*.format", "data.train.*.as_jsonl"), question_table),
    Spread("train_file_name", ("data.train.*.path", "data.train.*.format", "data.train.*.as_jsonl"), question_table),
    Inert("eval_file", "Firefly has the key and never reads it"),
    Inert("train_args_file", "it named this very file"),
    Spread("task_type", ("method.kind",), task_type),
    Spread("train_mode", ("adapter.kind", "quantise.bits", "quantise.kind", "quantise.double"), train_mode),
    Spread("template_name", ("data.template",), template_name),
    Key(
        "max_seq_length",
        "data.max_length",
        whole,
        note=(
            "what is longer loses its end, the end-of-turn included; a row whose prompt fills the limit has nothing to "
            "learn: there it gave NaN alone in a batch, here it is left out and counted"
        ),
    ),
    Key("max_prompt_length", "method.max_prompt_length", whole),
    Key("beta", "method.beta", number),
    Key("lora_rank", "adapter.rank", whole),
    Key("lora_alpha", "adapter.alpha", number),
    yielding(Key("lora_dropout", "adapter.dropout", number), _judged),
    Key("tokenize_num_workers", "data.workers", whole),
    Spread("use_unsloth", ("runtime.gradient_checkpointing",), unsloth),
    Spread("fp16", ("precision.compute", "model.dtype", "quantise.compute"), _half("fp16", "bf16")),
    Spread("bf16", ("precision.compute", "model.dtype", "quantise.compute"), _half("bf16", "fp16")),
)

_OWN_NAMES = {name for row in OWN for name in row.names}

ROWS = under_deepspeed((*(row for row in training_argument_rows() if row.name not in _OWN_NAMES), *OWN))


def _is(*wanted: str) -> Callable[[Values], bool]:
    """Whether the task or the mode is one of ``wanted``; not where the file names one that does not exist."""

    def when(values: Values) -> bool:
        try:
            return _task(values) in wanted or _mode(values) in wanted
        except Cannot:
            return False

    return when


def _untemplated(values: Values) -> bool:
    return _is("sft")(values) and values.get("template_name") is None


def _judged_adapter(values: Values) -> bool:
    return _is("dpo")(values) and _is("lora", "qlora")(values)


DEFAULTS: tuple[Default, ...] = (
    Default("task_type", "sft", {"method.kind": "sft"}),
    Default("train_mode", "qlora", _adapter("qlora"), "4-bit NF4 weights below a LoRA", _is("qlora")),
    Default(
        "train_mode",
        "full",
        _adapter("full"),
        "without templates and LoRA's keys it is the older script that trained all weights",
        _is("full"),
    ),
    Default("lora_rank", 64, {"adapter.rank": 64}, when=_is("lora", "qlora")),
    Default("lora_alpha", 16, {"adapter.alpha": 16.0}, when=_is("lora", "qlora")),
    Default("lora_dropout", 0.05, {"adapter.dropout": 0.0}, NO_DROPOUT, _judged_adapter),
    Default("lora_dropout", 0.05, {"adapter.dropout": 0.05}, when=_is("lora", "qlora")),
    Default(
        "lora_targets",
        "all linear",
        {"adapter.targets": "all-linear"},
        "every linear layer but the output",
        _is("lora", "qlora"),
    ),
    Default("beta", 0.1, {"method.beta": 0.1}, when=_is("dpo")),
    Default("max_prompt_length", 512, {"method.max_prompt_length": 512}, when=_is("dpo")),
    Default(
        "template_name",
        None,
        {"data.template": UNTEMPLATED},
        "the older generation: <s>question</s>answer</s>, the answers learned",
        _untemplated,
    ),
    Default("truncation", "right", {"data.overlong": "truncate", "data.vanished": "drop"}, VANISHED, _is("sft")),
    Default(
        "truncation",
        "prompt, then answers",
        {"data.overlong": "keep_answer", "data.vanished": "drop"},
        "of a pair that is too long the prompt loses its head, down to max_prompt_length, then the answers their tails",
        _is("dpo"),
    ),
    Default("packing", False, {"pack.kind": "none"}, when=_is("sft", "dpo")),
    Default(
        "packing",
        True,
        {"pack.kind": "concatenate", "data.overlong": "split"},
        "texts were joined and cut into pieces of max_seq_length; here a piece's documents do not see one another",
        _is("pretrain"),
    ),
    Default(
        "end_tokens",
        None,
        {"data.train.0.end_tokens": 0, "data.train.0.control_tokens": "control"},
        "a text has what the tokenizer itself puts around it, and no end token besides; control tokens in it are what "
        "they say",
        _is("pretrain"),
    ),
    *(default for default in training_argument_defaults() if default.name != "fp16"),
)


def parse(source: str, name: str) -> Document:
    """The JSON file; tokens are masked."""
    return masked(load_json(source, name), *SECRETS)


def recognises(document: Document) -> bool:
    """Whether the file names a model, a Firefly file of rows, and at least one more of Firefly's own keys."""
    keys = set(document.value)
    rows = "train_file" in keys or {"train_file_path", "train_file_name"} <= keys
    others = {"template_name", "train_mode", "max_seq_length", "lora_rank", "task_type"}
    return rows and "model_name_or_path" in keys and bool(keys & others)


FIREFLY = TableDialect(
    name="firefly",
    rows=ROWS,
    defaults=DEFAULTS,
    parse=parse,
    recognises=recognises,
    companions=deepspeed_companions,
)
