"""What may lie in a model's folder and is never run or opened: code of its own, pickles, paths that lead out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from luthier.errors import ModelError

SAFE = "pickles can run anything and are never opened; save the weights anew with transformers' save_pretrained"
"""What to do about pickled weights, and why."""

_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def check_model(directory: Path) -> None:
    """Refuse a model directory that would have something run or read that is not its own weights.

    Raises:
        ModelError: it needs code of its own, holds pickled weights alone, or is an adapter.
    """
    if (directory / "adapter_config.json").exists():
        remedy = "set model.path to its base, and adapter.continue_from to this folder"
        raise ModelError("is an adapter, not a model", place=str(directory), remedy=remedy)
    config = _json(directory / "config.json")
    if "auto_map" in config and config.get("model_type") != "chatglm" and not _known(config.get("model_type")):
        raise ModelError(
            f"needs code of its own ({_code(config)}), and code from a model's folder is never run",
            place=str(directory / "config.json"),
            remedy="take a model whose model_type transformers knows, or a conversion of this one to such a type",
        )
    if not any(directory.glob("*.safetensors")) and (pickled := pickles(directory)):
        raise ModelError(f"holds no .safetensors weights but {pickled[0]}", place=str(directory), remedy=SAFE)


def check_adapter(directory: Path, settings: dict[str, Any]) -> None:
    """Refuse a saved adapter whose weights are pickled, or whose settings name a module to import.

    Raises:
        ModelError: it is such a one.
    """
    if not (directory / "adapter_model.safetensors").exists():
        pickled = pickles(directory)
        reason = f"holds no .safetensors weights but {pickled[0]}" if pickled else "lacks adapter_model.safetensors"
        raise ModelError(reason, place=str(directory), remedy=SAFE if pickled else "save the adapter again")
    if settings.get("megatron_config"):
        reason = f"megatron_config would import {settings.get('megatron_core')!r}"
        raise ModelError(reason, place=str(directory / "adapter_config.json"), remedy="remove it")


def inside(directory: Path, name: object) -> Path:
    """The file of a directory that an index in it names.

    Raises:
        ModelError: the name leads elsewhere, or to a file that holds no safetensors.
    """
    if not isinstance(name, str) or not name or Path(name).name != name or "\\" in name or name == "..":
        reason = f"its index names {name!r}, which is no file of this folder"
        raise ModelError(reason, place=str(directory), remedy="download it again from whom you trust")
    if not name.endswith(".safetensors"):
        raise ModelError(f"its index names {name!r}", place=str(directory), remedy=SAFE)
    return directory / name


def pickles(directory: Path) -> list[str]:
    """The names of files in a folder that look like pickled weights."""
    names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    return [name for name in names if name.endswith(_PICKLES) and name != "training_args.bin"]


def _code(config: dict[str, Any]) -> str:
    named = config["auto_map"]
    return ", ".join(sorted(map(str, named.values()))) if isinstance(named, dict) else str(named)


def _known(kind: object) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return isinstance(kind, str) and kind in CONFIG_MAPPING_NAMES


def _json(path: Path) -> dict[str, Any]:
    """A file's mapping; what cannot be read is told by whoever opens it."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}
