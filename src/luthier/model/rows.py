"""Rows of new tokens beside (IA)3. PEFT's file of it has no place for rows alone, so they are saved inside whole
embeddings, as modules saved beside it, which plain PEFT opens; a list beside the file tells which rows trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import TrainableTokensWrapper
from safetensors.torch import load_file, save_file

from luthier.model.adapter_files import ROWS, SETTINGS
from luthier.model.starts import WEIGHTS

_TRAINED = "token_adapter.trainable_tokens_delta"


def train_rows(config: PeftConfig, rows: Mapping[str, list[int]]) -> PeftConfig:
    """The settings of an adapter beside which these rows of layers train; where PEFT gives them no name of their own,
    its files do not hold it."""
    if rows:
        config.trainable_token_indices = dict(rows)
    return config


def as_saved(model: PeftModel, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """An adapter's tensors, by their names in its file, in the form that they are saved in.

    Each whole weight is of the base's type, in which the rows take part in the forward pass too."""
    whole = {
        f"{name}.weight": wrapper.token_adapter.get_merged_weights(["default"]).detach()
        for name, wrapper in _wrappers(model).items()
    }
    return {name: one for name, one in tensors.items() if not whole or not name.endswith(_TRAINED)} | whole


def write_whole(model: PeftModel, directory: Path) -> None:
    """Rewrite a saved adapter whose file has no place for rows alone; nothing where it has, or none trained."""
    wrappers = _wrappers(model)
    if not wrappers:
        return
    path, settings = directory / WEIGHTS, json.loads((directory / SETTINGS).read_text(encoding="utf-8"))
    tensors = {name: one.cpu().contiguous() for name, one in as_saved(model, load_file(path)).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    rows = {name.rpartition(".")[2]: list(one.token_adapter.token_indices["default"]) for name, one in wrappers.items()}
    settings["modules_to_save"] = sorted({*(settings["modules_to_save"] or ()), *rows})
    (directory / SETTINGS).write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")
    (directory / ROWS).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def open_with_rows(model: Any, directory: Path, config: PeftConfig, rows: Mapping[str, list[int]]) -> PeftModel:
    """The model with such an adapter as it trained: its rows apart, the rest of the embeddings the base's own.

    Raises:
        KeyError: the file lacks a tensor.
        RuntimeError: a tensor has another shape.
    """
    config.modules_to_save = [name for name in config.modules_to_save or () if name not in rows] or None
    wrapped = get_peft_model(model, train_rows(config, rows))
    saved, tensors = load_file(directory / WEIGHTS), dict[str, torch.Tensor]()
    for name in get_peft_model_state_dict(wrapped, save_embedding_layers=False):
        layer = name.removesuffix(f".{_TRAINED}")
        tensors[name] = saved[name] if layer == name else saved[f"{layer}.weight"][rows[layer.rpartition(".")[2]]]
    set_peft_model_state_dict(wrapped, tensors)
    return wrapped


def _wrappers(model: PeftModel) -> dict[str, Any]:
    """The layers of which rows train and PEFT's own settings do not say so, by name; both ends of a tied model."""
    config = model.peft_config["default"]
    if "trainable_token_indices" in config.to_dict():
        return {}
    return {name: module for name, module in model.named_modules() if isinstance(module, TrainableTokensWrapper)}
