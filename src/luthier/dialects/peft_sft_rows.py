"""The script's flags about the rows: which, how they read, how they share a sequence; and when a run goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luthier.dialects.peft_sft_model import on
from luthier.dialects.plain_values import flag, number, text, whole
from luthier.dialects.shell_word import Unclear
from luthier.dialects.table import (
    VANISHED,
    Cannot,
    Default,
    Effect,
    Gather,
    Key,
    Refused,
    Row,
    Spread,
    Values,
    applied,
    inert,
    refused,
)
from luthier.dialects.training_arguments_trl import ROLES, packing

CHATML = ("<|im_start|>user", "<|im_start|>assistant", "<|im_start|>system", "<|im_end|>", "<s>", "<pad>")
ZEPHYR = ("<|user|>", "<|assistant|>", "<|system|>", "</s>", "<s>", "<pad>")
SPECIAL = {"chatml": CHATML, "zephyr": ZEPHYR}
"""Template -> the tokens that the script added, its eos, bos and pad last."""

_TEXT = {"format": "text", "control_tokens": "control"}

GUANACO = "timdettmers/openassistant-guanaco"


def _template(values: Values) -> str | None:
    given = values.get("chat_template_format")
    return None if given is None or str(given).lower() == "none" else str(given).lower()


def _recent(values: Values) -> bool:
    """Whether the flags are those of TRL 0.20 and later."""
    return "max_length" in values


def _chat(value: Any, values: Values) -> Effect:
    name = _template(values)
    if name is None:
        return applied(_plain(values), "rows hold the finished text")
    if name not in SPECIAL:
        raise Cannot(f"{value!r} is no template of this script", "write chatml, zephyr or none")
    tokens = SPECIAL[name]
    settings: dict[str, Any] = {f"data.{part}.0.format": "messages" for part, _ in _parts(values)}
    settings |= {
        "data.template": name,
        "data.train_on": ["assistant"] if on(values, "assistant_only_loss") else ROLES,
        "method.kind": "sft",
        "tokenizer.eos": tokens[3],
        "tokenizer.bos": tokens[4],
        "tokenizer.pad": tokens[5],
        "tokenizer.added_special": list(tokens),
        "model.vocabulary_multiple": 8,
    }
    note = (
        f'it makes "{tokens[0]}" and the like single tokens and rounds the embedding up to 8 rows; under LoRA the new '
        "rows stay untrained unless the embeddings are trained too"
    )
    return applied(settings, note)


def _plain(values: Values) -> dict[str, Any]:
    """Rows of finished text, of which every token is learned, and whose control tokens are what they say."""
    made = {f"data.{part}.0.{name}": value for part, _ in _parts(values) for name, value in _TEXT.items()}
    return {**made, "method.kind": "pretrain"}


def _parts(values: Values) -> list[tuple[str, str]]:
    """(our part of the data, their split) for each split; the last of a kind counts, as upstream had it."""
    found: dict[str, str] = {}
    if isinstance(values.get("splits"), Unclear):
        raise Cannot("splits does not say which", "write its value")
    for split in text(values.get("splits") or "train,test").split(","):
        part = "train" if "train" in split else "evaluate" if "test" in split else None
        if part is None:
            raise Cannot(f"the split {split!r} is neither train nor test", "name splits with train or test in them")
        found[part] = split.strip()
    if "train" not in found:
        raise Cannot("there is no split to train on", "name one with train in it")
    return list(found.items())


def _dataset(values: Values) -> Effect:
    path = text(values.get("dataset_name") or GUANACO)
    settings = {f"data.{part}.0.path": path for part, _ in _parts(values)}
    return applied(settings, "a data set of the hub, or a folder that holds the splits")


def _splits(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    settings: dict[str, Any] = {f"data.{part}.0.split": split for part, split in _parts(values)}
    if not isinstance(values.get("dataset_name"), Unclear):
        settings |= _dataset(values).settings
    return applied(settings)


def _column(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    if _template(values):
        return inert("the template reads the column messages; this one only held its result")
    if value == "text":
        return inert("the column that is read anyway")
    return applied({f"data.{part}.0.columns.text": text(value) for part, _ in _parts(values)})


def _concat(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    if _recent(values):
        return inert("TRL from 0.15 on took no notice of it: it ends each text with the eos by itself")
    if _template(values):
        return inert("the template ends each turn with its own token")
    ended = flag(value) and on(values, "packing")
    note = "an eos after each text" if ended else "no eos after a text, but for one that it holds"
    return applied({f"data.{part}.0.end_tokens": int(ended) for part, _ in _parts(values)}, note)


def _special(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    if _recent(values):
        return inert("TRL from 0.15 on took no notice of it: the tokenizer puts its own around each text")
    if _template(values) and not flag(value):
        return inert("only the tokens that the text or its template holds")
    if _template(values):
        remedy = "put them into the template, or write False"
        return refused("the tokenizer's own tokens around a template cannot be had", remedy)
    note = "what the tokenizer puts around a text" if flag(value) else "only the tokens that the text holds"
    return applied({f"data.{part}.0.special_tokens": flag(value) for part, _ in _parts(values)}, note)


def _resume(value: Any, values: Values) -> Effect:
    if value is None or str(value).lower() in ("false", "none"):
        return applied({"checkpoint.resume": "never"})
    return applied({"checkpoint.resume": "auto" if str(value).lower() == "true" else text(value)})


def _share(value: Any) -> int | float:
    found = number(value)
    return int(found) if found >= 1 else found


def _nothing_else(values: Values) -> bool:
    return _template(values) is None


def _evaluates(values: Values) -> bool:
    """Whether texts are evaluated on."""
    try:
        return _nothing_else(values) and "evaluate" in dict(_parts(values))
    except Cannot:
        return False


def _bare(part: str) -> Callable[[Values], bool]:
    """Whether texts of the part get no tokens around them unless a flag says so."""
    return lambda values: not _recent(values) and (_nothing_else(values) if part == "train" else _evaluates(values))


def whole_sources(settings: dict[str, Any]) -> None:
    """Leave out sources whose path could not be read, so that the file is refused for that and nothing else."""
    for part in ("data.train.", "data.evaluate."):
        if f"{part}0.path" not in settings:
            for key in [key for key in settings if key.startswith(part)]:
                del settings[key]


_FORK = "it is a fork's flag, and what it asks for is not there"
_SOURCES = ("data.train.0.path", "data.evaluate.0.path")

DATA: tuple[Row, ...] = (
    Gather("dataset_name", _SOURCES, _dataset),
    Spread("splits", ("data.train.0.split", "data.evaluate.0.split", *_SOURCES), _splits),
    Spread("dataset_text_field", ("data.train.0.columns.text", "data.evaluate.0.columns.text"), _column),
    Spread(
        "chat_template_format",
        (
            *("data.template", "data.train.0.format", "data.evaluate.0.format", "data.train_on", "method.kind"),
            *("data.train.0.control_tokens", "data.evaluate.0.control_tokens"),
            *("tokenizer.eos", "tokenizer.bos", "tokenizer.pad", "tokenizer.added_special"),
            "model.vocabulary_multiple",
        ),
        _chat,
    ),
    Key("max_seq_length", "data.max_length", whole, old=("max_length",)),
    Key("max_seq_len", "data.max_length", whole, note="argparse took it as the beginning of max_seq_length"),
    Spread("packing", ("pack.kind", "data.overlong"), packing),
    Spread("append_concat_token", ("data.train.0.end_tokens", "data.evaluate.0.end_tokens"), _concat),
    Spread("add_special_tokens", ("data.train.0.special_tokens", "data.evaluate.0.special_tokens"), _special),
    Spread("resume_from_checkpoint", ("checkpoint.resume",), _resume),
    Key("test_size", "data.holdout", _share, note="a fork's flag: this part of the training rows is evaluated on"),
    Refused("fim_rate", _FORK, "remove it, or write 0", unless=(None, False, 0, "0", "0.0")),
    Refused("fim_spm_rate", _FORK, "remove it, or write 0", unless=(None, False, 0, "0", "0.0")),
    Refused("target_eval_loss", _FORK, "remove it, or set evaluate.patience"),
)


DATA_DEFAULTS: tuple[Default, ...] = (
    Default("dataset_name", GUANACO, {"data.train.0.path": GUANACO}, "no data set was named"),
    Default(
        "splits",
        "train,test",
        {"data.train.0.split": "train", "data.evaluate.0.split": "test"},
        when=lambda values: not values.get("splits"),
    ),
    Default(
        "dataset_name",
        GUANACO,
        {"data.evaluate.0.path": GUANACO},
        "no data set was named",
        when=lambda values: not values.get("splits") and not values.get("dataset_name"),
    ),
    Default(
        "chat_template_format",
        "none",
        {"data.train.0.format": "text", "data.train.0.control_tokens": "control", "method.kind": "pretrain"},
        "rows hold the finished text, of which every token is learned",
        when=_nothing_else,
    ),
    Default(
        "chat_template_format",
        "none",
        {"data.evaluate.0.format": "text", "data.evaluate.0.control_tokens": "control"},
        when=_evaluates,
    ),
    *(
        default
        for part in ("train", "evaluate")
        for default in (
            Default(
                "add_special_tokens",
                False,
                {f"data.{part}.0.special_tokens": False},
                "the script turned off what the tokenizer puts around a text" if part == "train" else "",
                when=_bare(part),
            ),
            Default(
                "append_concat_token",
                False,
                {f"data.{part}.0.end_tokens": 0},
                "no eos after a text, but for one that it holds" if part == "train" else "",
                when=_bare(part),
            ),
        )
    ),
    Default("max_seq_length", 512, {"data.max_length": 512}),
    Default("truncation", "right", {"data.vanished": "drop"}, VANISHED),
    Default("packing", False, {"pack.kind": "none", "data.overlong": "truncate"}, "over-long rows lose their tail"),
    Default(
        "resume_from_checkpoint",
        None,
        {"checkpoint.resume": "auto"},
        "upstream started anew; here a run that was broken off goes on when the same command is given again",
    ),
    Default("learning_rate", 2e-5, {"optimizer.lr": 2e-5}, "TRL's own default", when=_recent),
)
