"""How Axolotl says the rows, their lengths and how they are packed."""

from __future__ import annotations

from typing import Any

from luthier.convert.sheet import Keys, Writer, one
from luthier.recipe import Recipe
from luthier.recipe.data import Source

_TYPES = {"alpaca": "alpaca", "messages": "chat_template", "text": "completion"}
_ALL_ROLES = ["assistant", "user", "system", "tool"]
_OVERLONG = {"drop": "drop", "truncate": "truncate", "refuse": "raise"}
_COLUMNS = {
    "text": "field", "messages": "field_messages", "tools": "field_tools", "chosen": "field_chosen",
    "rejected": "field_rejected",
}  # fmt: skip
_FIELDS = {name: f"type.field_{name}" for name in ("instruction", "input", "output", "system")}
"""Columns whose keys stand where otherwise the type does."""


def _list(recipe: Recipe, part: str) -> str:
    if part == "evaluate":
        return "test_datasets"
    return "pretraining_dataset" if recipe.method.kind == "pretrain" else "datasets"


def _source(recipe: Recipe, source: Source) -> dict[str, Any]:
    """One data set's keys."""
    keys: dict[str, Any] = {"path": source.path}
    kind = None if recipe.method.kind not in ("sft", "pretrain") else _TYPES.get(source.format)
    names = _COLUMNS if kind else _COLUMNS | _FIELDS
    if kind:
        keys["type"] = kind
    if source.name is not None:
        keys["name"] = source.name
    if source.rows is not None:
        keys["split"] = f"{source.split}[:{source.rows}]"
    elif source.split != "train":
        keys["split"] = source.split
    return keys | {names[ours]: theirs for ours, theirs in source.columns.items() if ours in names}


def _rows(part: str) -> Writer:
    def write(recipe: Recipe) -> Keys:
        keys: dict[str, Any] = {}
        for index, source in enumerate(getattr(recipe.data, part)):
            stem = f"{_list(recipe, part)}.{index}."
            keys |= {stem + name: value for name, value in _source(recipe, source).items()}
        return keys

    return Writer((f"data.{part}",), write)


def _train_on(recipe: Recipe) -> Keys:
    roles = list(recipe.data.train_on)
    if roles == _ALL_ROLES:
        return {"train_on_inputs": True}
    stem = _list(recipe, "train")
    return {f"{stem}.{index}.roles_to_train": roles for index in range(len(recipe.data.train))}


def _template(name: str) -> str | None:
    if name.endswith((".jinja", ".jinja2", ".j2")):
        return "jinja"
    return {"auto": "tokenizer_default", "chatml": "chatml"}.get(name)


def _templates(recipe: Recipe) -> Keys:
    name = recipe.data.template
    kind = _template(name)
    if kind is None:
        return {}
    return {"chat_template": kind, **({"chat_template_jinja": name} if kind == "jinja" else {})}


def _packing(recipe: Recipe) -> Keys:
    """A packed micro-batch is one row of micro_batch_size x sequence_len tokens, unless it is said to be several."""
    length, micro = recipe.data.max_length, recipe.batch.micro
    keys: dict[str, Any] = {"sequence_len": length}
    if recipe.pack.kind == "none":
        return {**keys, "micro_batch_size": micro}
    width = recipe.pack.length or length
    if recipe.method.kind != "pretrain" or width != length or micro > 1:
        keys["sample_packing"] = True
    if micro > 1:
        keys |= {"micro_batch_size": micro, "multipack_real_batches": True}
        return keys if width == length else {**keys, "max_packed_sequence_len": width}
    if width % length:
        return {**keys, "micro_batch_size": 1, "max_packed_sequence_len": width}
    return {**keys, "micro_batch_size": width // length}


def _evaluation_batch(recipe: Recipe) -> Keys:
    size, keys = recipe.batch.evaluate, _packing(recipe)
    if size is None:
        return {}
    wide = recipe.pack.kind != "none" and "multipack_real_batches" not in keys
    return {"eval_batch_size": size * int(keys["micro_batch_size"]) if wide else size}


DATA: tuple[Writer, ...] = (
    _rows("train"),
    _rows("evaluate"),
    Writer(("data.train_on",), _train_on),
    Writer(("data.template",), _templates),
    one("data.overlong", "excess_length_strategy", _OVERLONG.get),
    Writer(
        ("pack.kind", "pack.length", "batch.micro", "data.max_length"),
        _packing,
        "the nearest way to pack; a pack whose length is not named is as long as data.max_length",
    ),
    Writer(("batch.evaluate",), _evaluation_batch),
    one("batch.accumulation", "gradient_accumulation_steps"),
)
