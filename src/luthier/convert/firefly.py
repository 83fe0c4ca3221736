"""Writes Firefly's JSON."""

from __future__ import annotations

from typing import Any

from luthier.convert.sheet import Keys, Sheet, Writer, one
from luthier.convert.training_arguments import ALWAYS, WRITERS, json_text
from luthier.recipe import Recipe

_FIRST = (
    *("output_dir", "model_name_or_path", "train_file", "train_file_path", "train_file_name", "task_type"),
    *("train_mode", "template_name", "max_seq_length"),
)


def _rows(recipe: Recipe) -> Keys:
    """One file of rows; the fork's table of questions is a folder and a name."""
    if not recipe.data.train:
        return {}
    source = recipe.data.train[0]
    folder, middle, name = source.path.rpartition("/csv/")
    if source.format == "human_assistant" and middle and folder and "/" not in name:
        return {"train_file_path": folder, "train_file_name": name}
    return {"train_file": source.path}


def _mode(recipe: Recipe) -> Keys:
    if recipe.adapter.kind == "none":
        return {"train_mode": "full"}
    return {"train_mode": "qlora" if recipe.quantise.bits == 4 else "lora"}


def _template(recipe: Recipe) -> Keys:
    name = recipe.data.template.removeprefix("firefly/")
    return {"template_name": name} if name not in (recipe.data.template, "untemplated") else {}


def _half(recipe: Recipe) -> Keys:
    compute = recipe.precision.compute
    keys: dict[str, Any] = {compute: True} if compute in ("bf16", "fp16") else {}
    if recipe.precision.full_evaluation and keys:
        keys[f"{compute}_full_eval"] = True
    return keys


FIREFLY = Sheet(
    writers=(
        Writer(("data.train",), _rows),
        one("method.kind", "task_type"),
        Writer(("adapter.kind", "quantise.bits", "quantise.kind", "quantise.double"), _mode),
        Writer(("data.template",), _template),
        Writer(("precision.compute", "precision.full_evaluation", "model.dtype", "quantise.compute"), _half),
        *WRITERS,
    ),
    always=(*ALWAYS, "model.path", "data.train", "method.kind", "adapter.kind", "data.template", "data.max_length"),
    render=json_text,
    first=_FIRST,
)
"""The dialect's writing side."""
