"""Axolotl's keys of one dataset, for each of the lists they stand in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from luthier.dialects.axolotl.data import ALL_ROLES, uses_template
from luthier.dialects.axolotl.values import found, mapping, named, names, text, truth
from luthier.dialects.reading import Outcome
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
    refused,
    replaced,
)

FORMATS = {"alpaca": "alpaca", "chat_template": "messages", "sharegpt": "messages"} | dict.fromkeys(
    ("completion", "pretrain"), "text"
)
_BUILDERS = ("json", "csv", "parquet", "text", "arrow")
_ROLES = {
    "system": ("system",),
    "user": ("user", "human", "prompter"),
    "assistant": ("assistant", "gpt", "chatgpt", "bot", "model"),
    "tool": ("tool", "function", "observation"),
}
_ALPACA = (
    "the Stanford preamble and '### Instruction:'; where a row has an input, Axolotl wrote it below '### Input:', and "
    "Luthier writes it after a blank line below the instruction"
)
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
        if path in _BUILDERS:
            path, made = files[0], {target: files[0]}
        else:
            made = {}
        if len(files) > 1:
            return Effect(Outcome.REFUSED, made, f"{len(files)} files; write each as a dataset of its own")
        if made:
            return applied(made)
        return refused(
            "single files of a hub dataset or folder cannot be taken", f"download {files[0]} and name it in path"
        )

    return spread


def _type(target: str) -> Convert:
    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: the format is told from the columns")
        name = text(value)
        if name == "chat_template.default" and not values.get("rl"):
            name = "chat_template"
        if values.get("rl") or name not in FORMATS:
            known = ", ".join(FORMATS)
            raise Cannot(f"rows of the type {name!r} are not there", f"bring them into one of: {known}")
        if name == "alpaca":
            return applied({f"{target}.format": "alpaca", "data.template": "alpaca"}, _ALPACA)
        if name == "sharegpt":
            return applied({f"{target}.format": "messages"}, "removed from Axolotl in 2024-11; read as chat_template")
        return applied({f"{target}.format": FORMATS[name]})

    return spread


def _split(target: str) -> Convert:
    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: train")
        first = _SLICE.fullmatch(text(value))
        if first:
            return applied({f"{target}.split": first[1], f"{target}.rows": int(first[2])})
        return applied(
            {f"{target}.split": text(value)}, "a share of a split is taken on the hub; local files have none"
        )

    return spread


def _properties(value: Any, values: Values) -> Effect:
    for ours, usual in (("role", ("role", "from")), ("content", ("content", "value"))):
        theirs = mapping(value or {}).get(ours)
        if theirs is not None and theirs not in usual:
            raise Cannot(f"a turn's {ours} is read from {' or '.join(usual)}, not {theirs!r}", "rename it in the rows")
    more = sorted(set(mapping(value or {})) - {"role", "content"})
    if more:
        raise Cannot(f"a turn has no {', '.join(more)} here", "leave it out")
    return replaced({}, "turns are read in either spelling: role and content, or from and value")


def _property(usual: tuple[str, ...]) -> Convert:
    def spread(value: Any, values: Values) -> Effect:
        if value is None:
            return inert("null: left at the default")
        if value not in usual:
            raise Cannot(f"it is read from {' or '.join(usual)}, not {value!r}", "rename it in the rows")
        return replaced({}, f"read from {' or '.join(usual)}, whichever a turn has")

    return spread


def _roles(value: Any, values: Values) -> Effect:
    for ours, theirs in mapping(value or {}).items():
        odd = [one for one in names(theirs) if one not in _ROLES.get(ours, ())]
        if odd:
            raise Cannot(f"the role {odd[0]!r} cannot be read as {ours}", "rename it in the rows")
    return replaced({}, "these names of roles are known")


def _train_on(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    if truth(values.get("train_on_inputs")):
        return inert("train_on_inputs wins")
    asked = names(value)
    if "all" in asked:
        return applied({"data.train_on": ALL_ROLES})
    ours = [role for role, known in _ROLES.items() if any(one in known for one in asked)]
    unknown = [one for one in asked if not any(one in known for known in _ROLES.values())]
    if unknown:
        raise Cannot(f"there is no role {unknown[0]!r}", f"use some of: {', '.join(_ROLES)}")
    return applied({"data.train_on": ours})


def _ends(value: Any, values: Values) -> Effect:
    if value in (None, "turn"):
        return inert("each learned turn is learned with the token that ends it")
    return refused(f"{value!r}: each learned turn is learned with the token that ends it, and no other", "write turn")


def _template_name(value: Any) -> Effect:
    name = text(value)
    if name == "tokenizer_default":
        return applied({"data.template": "auto"})
    if name.startswith("tokenizer_default_fallback_"):
        return applied({"data.template": "auto"}, "the tokenizer's own; a run without one is refused")
    if name == "chatml":
        return applied({"data.template": "chatml"})
    if name == "jinja":
        return replaced({}, "the template is the one that chat_template_jinja names")
    return refused(
        f"Axolotl's own copy of the template {name!r} is not there",
        "write tokenizer_default for the tokenizer's own, or chat_template_jinja: FILE.jinja",
    )


def _template(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: the tokenizer's own")
    if not uses_template(values):
        return inert("no dataset of the file is put through it")
    return _template_name(value)


def _jinja(value: Any, values: Values) -> Effect:
    if value is None:
        return inert("null: left at the default")
    if not text(value).endswith((".jinja", ".jinja2", ".j2")):
        raise Cannot(
            "a template inside a file cannot be used", "save it to FILE.jinja and write chat_template_jinja: FILE.jinja"
        )
    return applied({"data.template": text(value)})


def _rows(theirs: str, target: str) -> tuple[Row, ...]:
    columns = {
        "field": "text", "text_column": "text", "field_messages": "messages", "field_tools": "tools",
        "field_chosen": "chosen", "field_rejected": "rejected", "type.field_instruction": "instruction",
        "type.field_input": "input", "type.field_output": "output", "type.field_system": "system",
    }  # fmt: skip
    prompt = (
        "a prompt of one's own is not there",
        "bring the rows into alpaca or chat_template, and give a chat template",
    )
    rewritten = ("turns are taken as they stand", "rewrite the rows")
    return (
        Spread(f"{theirs}.path", (f"{target}.path",), _path(theirs, f"{target}.path")),
        Spread(f"{theirs}.data_files", (f"{target}.path",), _files(theirs, f"{target}.path")),
        Spread(f"{theirs}.type", (f"{target}.format", "data.template"), _type(target)),
        Spread(f"{theirs}.split", (f"{target}.split", f"{target}.rows"), _split(target)),
        Key(f"{theirs}.name", f"{target}.name", text),
        *(Key(f"{theirs}.{name}", f"{target}.columns.{ours}", text) for name, ours in columns.items()),
        Spread(f"{theirs}.message_property_mappings", (), _properties, whole=True),
        Spread(f"{theirs}.message_field_role", (), _property(("role", "from"))),
        Spread(f"{theirs}.message_field_content", (), _property(("content", "value"))),
        Spread(f"{theirs}.message_field_training", (), _property(("trained", "train"))),
        Spread(f"{theirs}.roles", (), _roles, whole=True),
        Spread(f"{theirs}.roles_to_train", ("data.train_on",), _train_on),
        Spread(f"{theirs}.train_on_eos", (), _ends, old=(f"{theirs}.train_on_eot",)),
        Spread(f"{theirs}.chat_template", ("data.template",), _template, old=(f"{theirs}.conversation",)),
        Spread(f"{theirs}.chat_template_jinja", ("data.template",), _jinja),
        Inert(
            f"{theirs}.ds_type", "a file's suffix tells how it is read", (*_BUILDERS[:4], None), "write Parquet or JSON"
        ),
        Inert(f"{theirs}.preprocess_shards", "rows are prepared in pieces by themselves"),
        Inert(f"{theirs}.trust_remote_code", "no code of a dataset is ever run"),
        Inert(f"{theirs}.shards_idx", "it belongs to shards"),
        Inert(f"{theirs}.max_completion_length", "no cut within a row is asked for", (None,), "leave it out"),
        Refused(f"{theirs}.shards", "rows are not taken in shards", "write split: train[:N]"),
        Refused(f"{theirs}.skip", "rows are taken from the first one on", "cut the file", (None, 0)),
        Refused(f"{theirs}.revision", "a dataset's revision cannot be named", "download it and name the folder"),
        Refused(f"{theirs}.drop_system_message", *rewritten),
        Refused(f"{theirs}.split_thinking", *rewritten),
        Refused(f"{theirs}.field_thinking", "reasoning apart from the answer is not there", "write it into the answer"),
        Inert(f"{theirs}.template_thinking_key", "it belongs to field_thinking"),
        Refused(f"{theirs}.message_field_training_detail", "turns are learned whole", "use message_field_training"),
        *(
            Refused(f"{theirs}.type.{name}", *prompt)
            for name in ("system_prompt", "system_format", "format", "no_input_format")
        ),
        *(
            Refused(f"{theirs}.{name}", *prompt)
            for name in ("input_format", "input_transform", "field_human", "field_model")
        ),
        *(
            Refused(f"{theirs}.{name}", "learning from steps or from a teacher is not there", "leave it out")
            for name in ("step_separator", "train_on_last_step_only", "logprobs_field", "temperature")
        ),
    )


def _streamed(value: Any, values: Values) -> Effect:
    if value in (None, []):
        return inert("it names nothing")
    return applied({"data.train.0.path": text(value), "data.train.0.format": "text", "method.kind": "pretrain"})


def _pretraining() -> tuple[Row, ...]:
    """The rows of a list whose being there makes the run pretraining."""
    path = named("data.train.*.path", {"method.kind": "pretrain"})
    makes = ("data.train.*.path", "method.kind")
    rows = _rows("pretraining_dataset.*", "data.train.*")
    return (Spread("pretraining_dataset.*.path", makes, path), *(row for row in rows if not row.name.endswith(".path")))


DATASETS: tuple[Row, ...] = (
    *_rows("datasets.*", "data.train.*"),
    *_rows("test_datasets.*", "data.evaluate.*"),
    *_pretraining(),
    Inert("datasets", "it names nothing", (None, [])),
    Inert("test_datasets", "it names nothing", (None, [])),
    Spread("pretraining_dataset", ("data.train.*.path", "data.train.*.format", "method.kind"), _streamed),
    Spread("chat_template", ("data.template",), _template),
    Spread("chat_template_jinja", ("data.template",), _jinja),
    Refused(
        "chat_template_kwargs",
        "a template takes no further words",
        "write them into a .jinja file",
        (None, {}),
        whole=True,
    ),
    Refused("role_boundaries", "masks come from the chat template", "leave it out", (None, []), whole=True),
)

DEFAULTS: tuple[Default, ...] = (
    Default("chat_template", "tokenizer_default", {"data.template": "auto"}, "the tokenizer's own", uses_template),
)
