"""A saved model, opened again: every tensor's shape and hash against what was to be saved, and a list of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from torch.distributed.tensor import DTensor

from luthier.errors import ModelError
from luthier.model.rows import as_saved

LIST = "weights.json"
"""The file beside the weights that names every tensor, its type, its shape and its SHA-256."""


def verify(model: Any, directory: Path) -> None:
    """Open what was saved, compare it with the model tensor by tensor, and write ``weights.json``.

    An adapter that is saved in another form than it trained in (``model/starts.py``) is only opened and listed.

    Raises:
        ModelError: a tensor on the disk is not the one of the model; it is named.
        OSError: the disk is full or failing.
    """
    wanted = _wanted(model)
    listed: dict[str, Any] = {}
    for path in sorted(directory.glob("*.safetensors")):
        with safe_open(str(path), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                found = file.get_tensor(name)
                entry = {"file": path.name, "dtype": str(found.dtype), "shape": list(found.shape)}
                listed[name] = {**entry, "sha256": digest(found)}
                if name in wanted and not _same(wanted[name], found, listed[name]["sha256"]):
                    raise ModelError(
                        f"{name} in {path.name} is not what was to be saved",
                        place=str(directory),
                        remedy="see to the disk and its memory, and give the same command again",
                    )
    text = json.dumps({"tensors": listed}, indent=1) + "\n"
    (directory / LIST).write_text(text, encoding="utf-8")


def differing(directory: Path) -> list[str]:
    """The tensors of a saved model that are no longer what its list says; empty where they are, or there is none."""
    if not (directory / LIST).exists():
        return []
    listed: dict[str, Any] = json.loads((directory / LIST).read_text(encoding="utf-8"))["tensors"]
    wrong = []
    for name, entry in listed.items():
        with safe_open(str(directory / entry["file"]), framework="pt") as file:
            if name not in file.keys() or digest(file.get_tensor(name)) != entry["sha256"]:  # noqa: SIM118
                wrong.append(name)
    return wrong


def digest(tensor: torch.Tensor) -> str:
    """The SHA-256 of a tensor's bytes."""
    data = tensor.detach().cpu().contiguous()
    return hashlib.sha256(data.reshape(-1).view(torch.uint8).numpy().data).hexdigest()


def _wanted(model: Any) -> Mapping[str, torch.Tensor]:
    """Name in the files -> tensor, as far as the model holds it in the form it is saved in."""
    if isinstance(model, PeftModel):
        if any(hasattr(module, "start") for module in model.modules()):
            return {}
        tensors = as_saved(model, get_peft_model_state_dict(model, save_embedding_layers=False))
    else:
        tensors = model.state_dict()
    return {
        name: one for name, one in tensors.items() if isinstance(one, torch.Tensor) and not isinstance(one, DTensor)
    }


def _same(wanted: torch.Tensor, found: torch.Tensor, hashed: str) -> bool:
    return wanted.shape == found.shape and wanted.dtype == found.dtype and digest(wanted) == hashed
