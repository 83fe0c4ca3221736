"""Axolotl's keys of one dataset, for each of the lists they stand in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from luthier.dialects.axolotl.conversations import conversation_named
from luthier.dialects.axolotl.data import uses_template
from luthier.dialects.axolotl.dataset_turns import turn_rows
from luthier.dialects.axolotl.dataset_types import judged, type_rows
from luthier.dialects.axolotl.templates import template_named
from luthier.dialects.axolotl.values import flag, found, mapping, named, names, text, whole
from luthier.dialects.table import (
    Cannot,
    Default,
    Effect,
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

_BUILDERS = ("json", "csv", "parquet", "text", "arrow")
_SLICE = re.compile(r"([\w.\-]+)\[:(\d+)\]")
Convert = Callable[[Any, Values], Effect]


def _path(theirs: str, target: str) -> Convert:
    usual = named(target)

    def spread(value: Any, values: Values) -> Effect:
        if value in _BUILDERS and any(found(values, f"{theirs}.data_files")):
            return replaced({}, "the rows lie in data_files; their suffix tells how they are read")
        return usual(value, values)

    return spread


def _files(theirs: str, target: str) -> Convert:
    def spread(value: Any, values: Values) -> Effect:
        if not value:
            return inert("it names no file")
        files = names(value)
        place = re.compile(re.escape(theirs).replace(r"\*", r"(\d+)") + r"\.data_files")
        at = next(one[1] for key, its in values.items() if its == value and (one := place.fullmatch(key)))
        path = str(values.get(f"{theirs.replace('*', at)}.path") or "json")
        if path not in _BUILDERS:
            return applied({f"{target}.files": files})
        if len(files) == 1:
            return applied({f"{target}.path": files[0]})
        return applied({f"{target}.path": ".", f"{target}.files": files})

    return spread


def _messages(target: str) -> Convert:
    """The column of the turns; of judged rows, it is the prompt."""

    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: left at the default")
        ours = "messages" if judged(values) is None else "prompt"
        return applied({f"{target}.columns.{ours}": text(value)})

    return spread


def _split(target: str) -> Convert:
    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: train")
        first = _SLICE.fullmatch(text(value))
        if first:
            return applied({f"{target}.split": first[1], f"{target}.rows": int(first[2])})
        return applied({f"{target}.split": text(value)})

    return spread


def _shards(target: str) -> Convert:
    def spread(value: Any, values: Values) -> Effect:
        if not value:
            return inert("it asks for nothing")
        note = "rows are dealt out in turn; there they are shuffled first, so that others are taken"
        return replaced({f"{target}.shards": whole(value)}, note)

    return spread


def _shard(theirs: str, target: str) -> Convert:
    def spread(value: Any, values: Values) -> Effect:
        if not any(found(values, f"{theirs}.shards")):
            return inert("it belongs to shards")
        return applied({f"{target}.shard": whole(value or 0)})

    return spread


def _template(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: the tokenizer's own")
    if not uses_template(values):
        return inert("no dataset of the file is put through it")
    return template_named(text(value))


def _conversation(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: the template that the file names")
    if not uses_template(values):
        return inert("no dataset of the file is put through it")
    return conversation_named(text(value), values)


def _jinja(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    if not text(value).endswith((".jinja", ".jinja2", ".j2")):
        raise Cannot(
            "a template inside a file cannot be used", "save it to FILE.jinja and write chat_template_jinja: FILE.jinja"
        )
    return applied({"data.template": text(value)})


def _words(value: Any, values: Values) -> Effect:
    """Further words of the template."""
    given = mapping(value or {})
    if not given:
        return inert("it names nothing")
    odd = next((name for name, one in given.items() if not isinstance(one, bool | str)), None)
    if odd is not None:
        raise Cannot(f"{odd} is neither text nor true or false", "write it into a .jinja file")
    nameless = next((name for name in given if not name.isidentifier()), None)
    if nameless is not None:
        raise Cannot(f"no template can read a word named {nameless!r}", "write a name of letters, digits and _")
    if not uses_template(values):
        return inert("no dataset of the file is put through the chat template")
    return applied({f"data.template_arguments.{name}": one for name, one in given.items()})


def _rows(theirs: str, target: str) -> tuple[Row, ...]:
    columns = {
        "field": "text", "text_column": "text", "field_tools": "tools", "field_chosen": "chosen",
        "field_rejected": "rejected",
    }  # fmt: skip
    formed = ("a text around the input is not there", "write it into type: {format: …}")
    return (
        Spread(f"{theirs}.path", (f"{target}.path",), _path(theirs, f"{target}.path")),
        Spread(f"{theirs}.data_files", (f"{target}.files", f"{target}.path"), _files(theirs, target)),
        *type_rows(theirs, target),
        Spread(f"{theirs}.split", (f"{target}.split", f"{target}.rows"), _split(target)),
        Key(f"{theirs}.name", f"{target}.name", text),
        *(Key(f"{theirs}.{name}", f"{target}.columns.{ours}", text) for name, ours in columns.items()),
        Spread(f"{theirs}.field_messages", (f"{target}.columns",), _messages(target)),
        *turn_rows(theirs, target),
        Spread(f"{theirs}.chat_template", ("data.template",), _template),
        Spread(f"{theirs}.conversation", ("data.template", "data.system"), _conversation),
        Spread(f"{theirs}.chat_template_jinja", ("data.template",), _jinja),
        Inert(
            f"{theirs}.ds_type", "a file's suffix tells how it is read", (*_BUILDERS[:4], None), "write Parquet or JSON"
        ),
        Inert(f"{theirs}.preprocess_shards", "rows are prepared in pieces by themselves"),
        Inert(f"{theirs}.trust_remote_code", "no code of a dataset is ever run"),
        Spread(f"{theirs}.shards", (f"{target}.shards",), _shards(target)),
        Spread(f"{theirs}.shards_idx", (f"{target}.shard",), _shard(theirs, target)),
        Key(f"{theirs}.skip", f"{target}.skip", lambda value: whole(value or 0)),
        Key(f"{theirs}.revision", f"{target}.revision", text),
        Inert(f"{theirs}.max_completion_length", "no cut within a row is asked for", (None,), "leave it out"),
        *(Refused(f"{theirs}.{name}", *formed) for name in ("input_format", "input_transform")),
        *(
            Refused(f"{theirs}.{name}", "learning from steps or from a teacher is not there", "leave it out")
            for name in ("step_separator", "train_on_last_step_only", "logprobs_field", "temperature")
        ),
    )


def _streamed(value: Any, values: Values) -> Effect:
    if value in (None, []):
        return inert("it names nothing")
    made = {"path": text(value), "format": "text", "control_tokens": "control", "streaming": _streams(values)}
    return applied({**{f"data.train.0.{name}": one for name, one in made.items()}, "method.kind": "pretrain"})


def _streams(values: Values) -> bool:
    """Whether texts of pretraining are streamed, as they are unless the file says no."""
    said = values.get("streaming")
    return said is None or flag(said)


def _streaming(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: only pretraining_dataset is streamed")
    if any(key.startswith("pretraining_dataset") for key in values):
        return applied({}, "it is about pretraining_dataset")
    numbers = sorted({key.split(".")[1] for key in values if key.startswith("datasets.")}, key=int)
    return applied({f"data.train.{number}.streaming": flag(value) for number in numbers})


def _pretraining() -> tuple[Row, ...]:
    """The rows of a list whose being there makes the run pretraining."""
    control, streaming = "data.train.*.control_tokens", "data.train.*.streaming"
    makes = ("data.train.*.path", control, streaming, "method.kind")

    def path(value: Any, values: Values) -> Effect:
        made = {control: "control", streaming: _streams(values), "method.kind": "pretrain"}
        return named("data.train.*.path", made)(value, values)

    rows = _rows("pretraining_dataset.*", "data.train.*")
    return (Spread("pretraining_dataset.*.path", makes, path), *(row for row in rows if not row.name.endswith(".path")))


DATASETS: tuple[Row, ...] = (
    *_rows("datasets.*", "data.train.*"),
    *_rows("test_datasets.*", "data.evaluate.*"),
    *_pretraining(),
    Inert("datasets", "it names nothing", (None, [])),
    Inert("test_datasets", "it names nothing", (None, [])),
    Spread(
        "pretraining_dataset",
        (
            "data.train.*.path",
            "data.train.*.format",
            "data.train.*.control_tokens",
            "data.train.*.streaming",
            "method.kind",
        ),
        _streamed,
    ),
    Spread("streaming", ("data.train.*.streaming",), _streaming),
    Spread("chat_template", ("data.template",), _template),
    Spread("chat_template_jinja", ("data.template",), _jinja),
    Spread("chat_template_kwargs", ("data.template_arguments",), _words, whole=True),
    Refused("role_boundaries", "masks come from the chat template", "leave it out", (None, []), whole=True),
)

DEFAULTS: tuple[Default, ...] = (
    Default("chat_template", "tokenizer_default", {"data.template": "auto"}, "the tokenizer's own", uses_template),
)
