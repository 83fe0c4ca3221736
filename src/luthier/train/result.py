"""The run's result on disk: whole or not there, like its checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from luthier.errors import RunError
from luthier.evaluate.generate import stop_ids
from luthier.model.save import save_model
from luthier.model.verify import verify
from luthier.plan.inputs import adapter_base
from luthier.recipe import Recipe
from luthier.record.checkpoints import replace_folder
from luthier.record.events import Saved
from luthier.record.folder import RunFolder, sync_folder
from luthier.train.prepare import Inputs


def save_result(model: Any, recipe: Recipe, inputs: Inputs, folder: RunFolder, step: int) -> Saved:
    """Write the model, its tokenizer and its chat template to ``folder.model``.

    Raises:
        RunError: the disk is full or failing; the checkpoints are untouched.
        ModelError: what was written is not what was to be written.
    """
    begun = time.monotonic()
    aside = folder.root / ".model.writing"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        write_model(model, recipe, inputs, aside, _dtype(recipe, inputs.model))
        verify(model, aside)
        for path in aside.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(aside)
        replace_folder(aside, folder.model)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise RunError(
            f"the result could not be written: {error}",
            place=str(folder.model),
            remedy="free disk space and give the same command again; it goes on from the last checkpoint",
        ) from error
    size = sum(path.stat().st_size for path in folder.model.iterdir())
    return Saved(step=step, path=folder.model.name, bytes=size, seconds=time.monotonic() - begun)


def write_model(model: Any, recipe: Recipe, inputs: Inputs, place: Path, dtype: str = "auto") -> None:
    """Write a model, its tokenizer and its chat template to a folder; auto leaves the types of its weights."""
    save_model(
        model,
        place,
        tokenizer=inputs.tokenizer,
        chat_template=inputs.template.source if inputs.template else inputs.encoder.chat_template,
        stops=stop_ids(inputs.template, inputs.encoder),
        base=adapter_base(recipe) if recipe.adapter.kind != "none" else None,
        dtype=dtype,
        shard_size=recipe.output.shard_size,
    )


def _dtype(recipe: Recipe, base: Path | None) -> str:
    """The type to save in: the recipe's, else the base model's own as its config names it."""
    if recipe.output.dtype != "auto" or base is None:
        return recipe.output.dtype
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    named = str(config.get("dtype") or config.get("torch_dtype"))
    return {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}.get(named, "auto")
