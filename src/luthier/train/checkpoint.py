"""The state of a run as tensors and plain values, to a checkpoint and back.

Weights, optimiser state and random generators are safetensors, the rest is JSON; nothing is ever unpickled. Tensors
that are shared out are written part by part by PyTorch's distributed checkpoint, each process its own; what is written
by some processes can be read by any other number, and by one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from luthier.errors import CheckpointError
from luthier.record.checkpoints import put_in_place
from luthier.train.parts import Fragment, Part, write_parts
from luthier.train.ranks import Ranks
from luthier.train.stored import Stored


@dataclass(frozen=True, slots=True)
class State:
    """Everything a run needs to go on: tensors by name, or this process's parts of them, and plain values."""

    weights: Mapping[str, torch.Tensor | Fragment]
    optimizer: Mapping[str, torch.Tensor | Fragment]
    random: Mapping[str, torch.Tensor]
    progress: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Saved:
    """The same as it lies on the disk."""

    weights: Stored
    optimizer: Stored
    random: Stored
    progress: dict[str, Any]


def save(folder: Path, name: str, state: State, ranks: Ranks | None = None) -> Path:
    """Write a checkpoint; all processes come here together, and each writes what it alone holds.

    Raises:
        CheckpointError: the disk is full or failing; what was there before is untouched.
    """
    ranks = ranks or Ranks()
    place, aside = folder / name, folder / f".{name}.writing"
    _together(ranks, place, lambda: _emptied(aside) if ranks.first else None)
    try:
        _together(ranks, place, lambda: _write_whole(aside, state) if ranks.first else None)
        for part in ("weights", "optimizer"):
            shared = {key: one for key, one in getattr(state, part).items() if isinstance(one, Part)}
            if shared:
                _together(ranks, place, partial(write_parts, aside / part, shared, ranks))
        _together(ranks, place, lambda: put_in_place(aside, place) if ranks.first else None)
    except CheckpointError:
        if ranks.first:
            shutil.rmtree(aside, ignore_errors=True)
        raise
    return place


def _together(ranks: Ranks, place: Path, work: Callable[[], None]) -> None:
    """Do something in every process, and fail in all of them if it fails in one."""
    wrong = ""
    try:
        work()
    except (OSError, SafetensorError) as error:
        wrong = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    failed = int(ranks.sums([float(bool(wrong))])[0])
    if failed:
        raise CheckpointError(
            f"could not be written: {wrong or f'{failed} other processes failed to'}",
            place=str(place),
            remedy="free disk space; the checkpoints before it are whole",
        )


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _write_whole(aside: Path, state: State) -> None:
    """What every process has alike, and the plain values."""
    for part, tensors in (("weights", state.weights), ("optimizer", state.optimizer), ("random", state.random)):
        whole = {key: one.detach().cpu().contiguous() for key, one in tensors.items() if not isinstance(one, Part)}
        if whole:
            save_file(whole, aside / f"{part}.safetensors")
    (aside / "progress.json").write_text(json.dumps(state.progress, indent=1), encoding="utf-8")


def load(path: Path, *, weights_only: bool = False) -> Saved:
    """Open a checkpoint whose wholeness has been checked.

    Args:
        path: its folder.
        weights_only: leave the optimiser's state unread.

    Raises:
        CheckpointError: a file of it cannot be read.
    """
    try:
        return Saved(
            weights=Stored.of(path, "weights"),
            optimizer=Stored() if weights_only else Stored.of(path, "optimizer"),
            random=Stored.of(path, "random"),
            progress=json.loads((path / "progress.json").read_text(encoding="utf-8")),
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot be read: {error}", place=str(path), remedy="delete it; an earlier one will be used"
        ) from error


def restore_weights(model: torch.nn.Module, saved: Stored) -> None:
    """Put saved weights back, into whole parameters or this process's parts of them.

    Raises:
        CheckpointError: the model has no such parameters, or of other shapes.
    """
    own = dict(model.named_parameters())
    for name in saved:
        if name not in own or own[name].shape != saved.shape(name):
            raise CheckpointError(f"holds {name}, which this model has not", remedy="set checkpoint.resume: never")
        with torch.no_grad():
            own[name].copy_(saved.like(name, own[name]))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """An optimiser's state as ``parameter name|entry`` -> tensor."""
    return {
        f"{name}|{key}": value if isinstance(value, torch.Tensor) else torch.tensor(value)
        for name, parameter in _named(optimizer)
        for key, value in optimizer.state[parameter].items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, torch.Tensor]) -> None:
    """Put a saved state back, each tensor in the type it was saved in.

    Raises:
        CheckpointError: the state belongs to other parameters.
    """
    parameters = dict(_named(optimizer))
    for key in saved:
        name, _, entry = key.rpartition("|")
        if name not in parameters:
            raise CheckpointError(
                f"holds optimiser state of {name}, which does not train", remedy="set checkpoint.resume: never"
            )
        parameter = parameters[name]
        tensor = saved.like(key, parameter) if isinstance(saved, Stored) else saved[key].to(parameter.device)
        optimizer.state[parameter][entry] = tensor


def _named(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.nn.Parameter]]:
    for group in optimizer.param_groups:
        yield from zip(group["names"], group["params"], strict=True)


def random_tensors(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of the random generators that training draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Put saved generator states back; without any they stay as they are."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def of_all_ranks(states: dict[str, torch.Tensor], ranks: Ranks) -> dict[str, torch.Tensor]:
    """Every process's generators: ``cpu`` is the first one's, ``cpu.1`` the second's."""
    return {
        f"{name}.{rank}" if rank else name: one
        for name, state in states.items()
        for rank, one in enumerate(ranks.gathered(state))
    }


def of_this_rank(states: Mapping[str, torch.Tensor], ranks: Ranks) -> dict[str, torch.Tensor]:
    """This process's generators; empty where there were fewer processes when they were saved."""
    suffix = f".{ranks.index}" if ranks.index else ""
    own = {name.removesuffix(suffix): one for name, one in states.items() if name.endswith(suffix)}
    return {name: one for name, one in own.items() if "." not in name}
