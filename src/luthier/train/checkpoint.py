"""The state of a run as tensors and plain values, to a checkpoint and back.

Weights, optimiser state and random generators are safetensors, the rest is JSON; nothing is ever unpickled.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from luthier.errors import CheckpointError
from luthier.record.checkpoints import put_in_place


@dataclass(frozen=True, slots=True)
class State:
    """Everything a run needs to go on: tensors by name, and plain values."""

    weights: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    random: dict[str, torch.Tensor]
    progress: dict[str, Any]


def save(folder: Path, name: str, state: State) -> Path:
    """Write a checkpoint.

    Raises:
        CheckpointError: the disk is full or failing; what was there before is untouched.
    """
    place, aside = folder / name, folder / f".{name}.writing"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        for part, tensors in (("weights", state.weights), ("optimizer", state.optimizer), ("random", state.random)):
            if tensors:
                save_file(
                    {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()},
                    aside / f"{part}.safetensors",
                )
        (aside / "progress.json").write_text(json.dumps(state.progress, indent=1), encoding="utf-8")
        put_in_place(aside, place)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointError(
            f"could not be written: {reason}",
            place=str(place),
            remedy="free disk space; the checkpoints before it are whole",
        ) from error
    return place


def load(path: Path) -> State:
    """Read a checkpoint whose wholeness has been checked.

    Raises:
        CheckpointError: a file of it cannot be read.
    """
    try:
        parts = {
            part: load_file(path / f"{part}.safetensors") if (path / f"{part}.safetensors").exists() else {}
            for part in ("weights", "optimizer", "random")
        }
        progress = json.loads((path / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot be read: {error}", place=str(path), remedy="delete it; an earlier one will be used"
        ) from error
    return State(progress=progress, **parts)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """An optimiser's state as ``parameter name|entry`` -> tensor."""
    return {
        f"{name}|{key}": value if isinstance(value, torch.Tensor) else torch.tensor(value)
        for name, parameter in _named(optimizer)
        for key, value in optimizer.state[parameter].items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put a saved state back, each tensor in the type it was saved in.

    Raises:
        CheckpointError: the state belongs to other parameters.
    """
    parameters = dict(_named(optimizer))
    for key, tensor in tensors.items():
        name, _, entry = key.rpartition("|")
        if name not in parameters:
            raise CheckpointError(
                f"holds optimiser state of {name}, which does not train", remedy="set checkpoint.resume: never"
            )
        parameter = parameters[name]
        optimizer.state[parameter][entry] = tensor.to(parameter.device)


def _named(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.nn.Parameter]]:
    for group in optimizer.param_groups:
        yield from zip(group["names"], group["params"], strict=True)


def random_tensors(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of the random generators that training draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Put saved generator states back."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
