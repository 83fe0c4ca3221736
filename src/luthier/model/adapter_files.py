"""A saved adapter as files: where it lies, what it is. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from luthier.errors import ModelError
from luthier.model.tokenizer import local_directory
from luthier.recipe.adapter import Adapter

SETTINGS = "adapter_config.json"
ROWS = "token_rows.json"
"""Beside it: the layers that are saved whole and of which rows alone trained, with these rows."""

KINDS = {"LORA": "lora", "IA3": "ia3", "PREFIX_TUNING": "prefix", "PROMPT_TUNING": "prompt"}
"""PEFT's names of the kinds of adapters -> ours."""

FEEDFORWARD = ("down_proj", "dense_4h_to_h", "fc2", "w2", "fc_out")
"""Names of the last layer of an MLP in the architectures that there are."""


def adapter_directory(named: str) -> Path:
    """Where an adapter lies: a directory in PEFT's layout, a run's folder, or a name on the hub.

    Raises:
        ModelError: there is no adapter.
    """
    place = place_of_result(local_directory(named, None))
    if (place / SETTINGS).exists():
        return place
    raise ModelError("holds no adapter", place=named, remedy=f"name a folder with an {SETTINGS}, or a run's folder")


def result_directory(path: Path) -> Path:
    """The directory of a run's result, or a model's or an adapter's own.

    Raises:
        ModelError: there is neither.
    """
    directory = place_of_result(path)
    if not is_result(directory):
        raise ModelError(
            "is neither a finished run nor a model directory",
            place=str(path),
            remedy="give a run's folder, or luthier train first",
        )
    return directory


def place_of_result(path: Path) -> Path:
    """Where a result would lie: in a run's folder its ``model``, else the directory itself."""
    inner = path / "model"
    return inner if is_result(inner) and not is_result(path) else path


def is_result(directory: Path) -> bool:
    """Whether a model or an adapter lies in a directory."""
    return any((directory / name).exists() for name in ("config.json", SETTINGS))


def adapter_settings(directory: Path) -> dict[str, Any]:
    """The plain values of an adapter's settings file.

    Raises:
        ModelError: it is damaged.
    """
    path = directory / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(settings, dict):
            return settings
        raise ValueError("it holds no mapping")
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read: {error}", place=str(path), remedy="save the adapter again") from error


def refuse_judge(directory: Path) -> None:
    """Refuse to have a reward model, or an adapter of one, speak.

    Raises:
        ModelError: it is one.
    """
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        built = [str(name) for name in config.get("architectures") or ()]
    except (OSError, ValueError, AttributeError, TypeError):
        built = []
    adapter = (directory / SETTINGS).exists() and adapter_settings(directory).get("task_type") == "SEQ_CLS"
    if adapter or any(name.endswith("ForSequenceClassification") for name in built):
        raise ModelError(
            "judges answers and speaks no words",
            place=str(directory),
            remedy="measure its run with luthier evaluate, or open the folder as it is with transformers",
        )


def rows_of(directory: Path) -> set[int]:
    """The rows of the embeddings that train beside a saved adapter.

    Raises:
        ModelError: a file of its settings is damaged.
    """
    rows = token_rows(directory) or adapter_settings(directory).get("trainable_token_indices") or {}
    return {index for given in (rows.values() if isinstance(rows, dict) else [rows]) for index in given}


def token_rows(directory: Path) -> dict[str, list[int]]:
    """Layer -> rows, where a saved adapter's file holds layers whole of which these rows alone trained.

    Raises:
        ModelError: the list of them is damaged.
    """
    path = directory / ROWS
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {str(layer): [int(row) for row in given] for layer, given in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"cannot be read: {error}", place=str(path), remedy="save the adapter again") from error


def settings_of(directory: Path) -> dict[str, Any]:
    """The recipe's settings of a saved adapter: those that decide its shape and its scale.

    Raises:
        ModelError: a file of its settings is damaged.
    """
    settings, rows = adapter_settings(directory), token_rows(directory)
    kind = KINDS.get(str(settings.get("peft_type")))
    if kind in ("prefix", "prompt"):
        tokens = {"virtual_tokens": settings["num_virtual_tokens"]}
        # What made a prefix is not saved with it.
        return tokens | {"projection": False} if kind == "prefix" else tokens
    targets = settings.get("target_modules") or ()
    found: dict[str, Any] = {
        "targets": targets if isinstance(targets, str) else tuple(sorted(targets)),
        "modules_to_save": tuple(name for name in settings.get("modules_to_save") or () if name not in rows),
        "fan_in_fan_out": bool(settings.get("fan_in_fan_out")),
    }
    if kind == "lora":
        found |= {
            "rank": settings["r"],
            "alpha": float(settings["lora_alpha"]),
            "rank_pattern": dict(settings.get("rank_pattern") or {}),
            "alpha_pattern": dict(settings.get("alpha_pattern") or {}),
            "dora": bool(settings.get("use_dora")),
            "rslora": bool(settings.get("use_rslora")),
            "bias": settings.get("bias", "none"),
            "init": "default",
        }
    return found


def is_feedforward(layer: str) -> bool:
    """Whether a layer is the last of an MLP, by its name.

    >>> is_feedforward("model.layers.0.mlp.down_proj"), is_feedforward("k_proj"), is_feedforward("h.0.mlp.c_proj")
    (True, False, True)
    """
    return layer.rpartition(".")[2] in FEEDFORWARD or layer.endswith("mlp.c_proj")


def starts_as_nothing(adapter: Adapter) -> bool:
    """Whether an adapter changes no result before its first step, and nothing below it either."""
    if adapter.kind not in ("lora", "ia3") or adapter.continue_from is not None:
        return False
    return adapter.kind == "ia3" or adapter.init in ("default", "gaussian")


def changes_base(adapter: Adapter) -> bool:
    """Whether an adapter trains or moves weights of the base itself, which stay so when it is switched off."""
    return adapter.kind == "lora" and (adapter.bias != "none" or adapter.init in ("pissa", "olora"))
