"""transformers' TrainingArguments, of any year: as printed in a log, and as JSON or YAML of the same fields.

They say how to train, and nothing about the model, the rows or the adapter: those are left open.
"""

from __future__ import annotations

from typing import Any

from luthier.dialects.deepspeed import UNCLIPPED, deepspeed_companions, under_deepspeed
from luthier.dialects.document import Document, load_yaml
from luthier.dialects.json_document import load_json
from luthier.dialects.plain_values import flag, masked, prefixed_defaults, prefixed_rows, whole
from luthier.dialects.table import Default, Effect, Key, Row, Spread, Values, inert, refused, replaced
from luthier.dialects.tabular import TableDialect
from luthier.dialects.training_arguments_dump import is_dump, load_dump
from luthier.dialects.training_arguments_inert import INERT
from luthier.dialects.training_arguments_machine import MACHINE
from luthier.dialects.training_arguments_maths import MATHS
from luthier.dialects.training_arguments_schedule import LEARNING_RATE, no_warmup
from luthier.dialects.training_arguments_timing import STEPS, TIMING
from luthier.dialects.training_arguments_trl import TRL

ROWS: tuple[Row, ...] = (*MATHS, *TIMING, *MACHINE, *INERT)


def generation_config(value: Any, values: Values) -> Effect:
    """``generation_config``: an object or a file, which only generated answers need."""
    if not value or not values.get("predict_with_generate"):
        return inert("no answers are generated from it")
    return refused("it is an object or a file of its own", "write evaluate.generation.max_new_tokens=… and the like")


def sortish(value: Any, values: Values) -> Effect:
    """``sortish_sampler``: roughly by length, as ``group_by_length`` is."""
    if value is None or not flag(value):
        return inert("off: rows are shuffled anew each epoch")
    return replaced({"data.group_by_length": True}, "rows of similar length share a micro-batch, in a drawn order")


SEQ2SEQ: tuple[Row, ...] = (
    Key("predict_with_generate", "evaluate.generate_during", flag),
    Key("generation_max_length", "evaluate.generation.max_new_tokens", whole),
    Key("generation_num_beams", "evaluate.generation.beams", whole),
    Spread("generation_config", (), generation_config, whole=True),
    Spread("sortish_sampler", ("data.group_by_length",), sortish),
)
"""What Seq2SeqTrainingArguments added."""

SECRETS = ("hub_token", "push_to_hub_token")

NAMES = frozenset(name for row in (*ROWS, *SEQ2SEQ, *TRL) for name in row.names)


def _no_strategy(values: Values) -> bool:
    return values.get("save_strategy") is None


def _pushes(values: Values) -> bool:
    return bool(values.get("push_to_hub"))


DEFAULTS: tuple[Default, ...] = (
    Default("learning_rate", LEARNING_RATE, {"optimizer.lr": LEARNING_RATE}),
    Default("weight_decay", 0.0, {"optimizer.weight_decay": 0.0}),
    UNCLIPPED,
    Default("max_grad_norm", 1.0, {"optimizer.clip": 1.0}),
    Default("optim", "adamw_torch", {"optimizer.kind": "adamw"}),
    Default("lr_scheduler_type", "linear", {"schedule.kind": "linear"}),
    Default("warmup_steps", 0, {"schedule.warmup_steps": 0}, when=no_warmup),
    Default("num_train_epochs", 3, {"batch.epochs": 3.0}),
    Default("per_device_train_batch_size", 8, {"batch.micro": 8}),
    Default("per_device_eval_batch_size", 8, {"batch.evaluate": 8}),
    Default("gradient_accumulation_steps", 1, {"batch.accumulation": 1}),
    Default("fp16", False, {"precision.compute": "fp32"}, "neither fp16 nor bf16: no mixed precision"),
    Default("eval_strategy", "no", {"evaluate.every": "never"}),
    Default("save_steps", STEPS, {"checkpoint.every": STEPS}, when=_no_strategy),
    Default("save_total_limit", None, {"checkpoint.keep_last": None}, "all checkpoints are kept"),
    Default("logging_steps", STEPS, {"track.every": STEPS}),
    Default("logging_first_step", False, {"track.first_step": False}),
    Default("logging_nan_inf_filter", True, {"track.hide_nonfinite": True}),
    Default("report_to", "none", {"track.to": []}, "older versions told every tracker installed; name those you want"),
    Default("hub_strategy", "every_save", {"output.hub.strategy": "every_save"}, when=_pushes),
    Default("gradient_checkpointing", False, {"runtime.gradient_checkpointing": False}),
    Default("seed", 42, {"seed": 42}),
)


def training_argument_rows(prefix: str = "") -> tuple[Row, ...]:
    """A row for every field that TrainingArguments ever had, below ``prefix`` (such as ``training_args.``)."""
    return prefixed_rows(ROWS, prefix)


def seq2seq_rows(prefix: str = "") -> tuple[Row, ...]:
    """Rows for what Seq2SeqTrainingArguments added, below ``prefix``."""
    return prefixed_rows(SEQ2SEQ, prefix)


def training_argument_defaults(prefix: str = "") -> tuple[Default, ...]:
    """What it means that such a field is not there."""
    return prefixed_defaults(DEFAULTS, prefix)


TRAINING_ARGUMENT_DEFAULTS = training_argument_defaults


def parse(text: str, name: str) -> Document:
    """A printed TrainingArguments, JSON or YAML; tokens are masked.

    Raises:
        RecipeError: it is none of them.
    """
    if is_dump(text):
        document = load_dump(text, name)
    elif text.lstrip().startswith("{"):
        document = load_json(text, name)
    else:
        document = load_yaml(text, name, version="1.1")
    return masked(document, *SECRETS)


FOREIGN = frozenset(
    {"base_model", "datasets", "dataset_name", "model", "model_name", "model_name_or_path", "train_file"}
)


def recognises(document: Document) -> bool:
    """Whether the keys are TrainingArguments', nearly all of them, and none names a model or rows."""
    keys = set(document.value)
    known = len(keys & NAMES)
    return known > 1 and known >= 0.8 * len(keys) and not keys & FOREIGN


TRAINING_ARGUMENTS = TableDialect(
    name="training_arguments",
    rows=under_deepspeed((*ROWS, *SEQ2SEQ, *TRL)),
    defaults=(
        *DEFAULTS,
        Default("packing", False, {"pack.kind": "none"}, "the Trainer gives each row a place of its own"),
    ),
    parse=parse,
    recognises=recognises,
    companions=deepspeed_companions,
)
