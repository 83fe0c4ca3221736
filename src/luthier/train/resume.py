"""Whether a run starts anew, goes on, or must not: decided from its folder before anything is loaded."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from luthier.dialects.document import load_yaml
from luthier.errors import CheckpointError, Fault, RunError
from luthier.recipe import Recipe
from luthier.record.checkpoints import damage, newest_whole, put_back, put_back_all
from luthier.record.folder import RunFolder
from luthier.redaction import redacted

FREE = ("output", "track", "checkpoint", "evaluate", "runtime", "data.cache", "data.workers", "data.test")
"""Settings that may differ when a run goes on: they do not change what is learned, or only how fast."""

STATE = (
    *("model.path", "model.scratch", "model.trainable", "model.last_layers", "tokenizer", "adapter", "quantise"),
    *("method.kind", "optimizer.kind", "optimizer.args"),
)
"""Settings that a checkpoint's weights and optimiser state belong to."""

ORDER = (
    *("seed", "pack", "batch.drop_last"),
    *("data.shuffle", "data.group_by_length", "data.curriculum", "data.mix", "data.holdout"),
)
"""Settings that say which rows the steps to come are made of."""

SHARES = ("batch.micro", "batch.accumulation", "batch.world")
"""Settings that say how a step's packs are shared out; their product is what counts."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run begins: a checkpoint or None, what was passed over, whether it is finished already."""

    checkpoint: Path | None = None
    skipped: list[str] = field(default_factory=list)
    finished: bool = False


def decide(recipe: Recipe, folder: RunFolder) -> Start:
    """Where this recipe starts in this folder.

    ``checkpoint.resume: never`` moves what is there aside; nothing is deleted.

    Raises:
        RunError: the folder holds a run of another recipe.
        CheckpointError: the checkpoint that the recipe names is not whole.
    """
    wanted = recipe.checkpoint.resume
    if wanted == "never":
        if folder.events.exists():
            _move_aside(folder)
        return Start()
    if wanted != "auto":
        _put_back(folder)
        named = _named(wanted, folder)
        wrong = damage(named)
        if wrong:
            remedy = "name a whole checkpoint, or set checkpoint.resume: auto"
            raise CheckpointError(wrong, place=str(named), remedy=remedy)
        return Start(named)
    if not folder.recipe.exists():
        return Start()
    before = load_yaml(folder.recipe.read_text(encoding="utf-8"), str(folder.recipe)).value
    now = recipe.tree()
    found = differences(redacted(before), redacted(now))
    changed = [one for one in found if one.partition(" (")[0] not in SHARES]
    changed += _other_steps(before, now)
    if changed:
        raise RunError(
            *(Fault(f"holds a run with another {change}", str(folder.root)) for change in changed[:-1]),
            Fault(
                f"holds a run with another {changed[-1]}",
                str(folder.root),
                "set output.dir to another folder, or checkpoint.resume=never to move the old run aside",
            ),
        )
    _put_back(folder)
    newest, skipped = newest_whole(folder.checkpoints)
    return Start(newest, skipped, is_finished(folder))


def _named(wanted: str, folder: RunFolder) -> Path:
    """The checkpoint that a recipe names; ``checkpoint-100``, as the Trainer calls them, is this run's step 100."""
    path = Path(wanted)
    step = re.fullmatch(r"checkpoint-(\d+)", path.name)
    return folder.checkpoints / f"step-{int(step[1]):08d}" if step and not path.exists() else path


def is_finished(folder: RunFolder) -> bool:
    """Whether the folder's run came to its end."""
    if not folder.events.exists() or not folder.model.is_dir():
        return False
    last = folder.events.read_bytes().rstrip(b"\n").rpartition(b"\n")[2]
    try:
        return bool(json.loads(last).get("event") == "finished")
    except ValueError:
        return False


def differences(before: Any, now: Any, prefix: str = "") -> list[str]:
    """The settings that differ and are not free to, as ``key (was a, now b)``."""
    if prefix in FREE:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        return [
            change
            for key in keys
            for change in differences(before.get(key), now.get(key), f"{prefix}.{key}" if prefix else key)
        ]
    return [] if before == now else [f"{prefix} (was {before!r}, now {now!r})"]


def check_changes(before: dict[str, Any] | None, now: dict[str, Any], place: str) -> list[str]:
    """What differs between the recipe that made a checkpoint and the one that goes on from it, both as they run here,
    with what stands in for what is not there: changes that the rest of a run is free to make (a rate, a schedule, a
    number type). None stands for a checkpoint that does not say.

    Raises:
        CheckpointError: its state belongs to something else, or its rows would come in another order.
    """
    if before is None:
        return []
    faults: list[Fault] = []
    said: list[str] = []
    for change in differences(redacted(before), redacted(now)):
        key = change.partition(" (")[0]
        if key.startswith(STATE) and key != "adapter.dropout":
            faults.append(Fault(f"belongs to another {change}", place, "set it back, or checkpoint.resume: never"))
        elif key.startswith(ORDER):
            faults.append(_other_rows(change, place))
        elif key not in SHARES:
            said.append(change)
    faults += [_other_rows(change, place) for change in _other_steps(before, now)]
    if faults:
        raise CheckpointError(*faults)
    return said


def _other_rows(change: str, place: str) -> Fault:
    reason = f"goes through its rows in another order: {change}; some would come twice and others never"
    return Fault(reason, place, "set it back, or checkpoint.resume: never")


def _other_steps(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What makes other steps of the same packs, or none: shared out otherwise, they are the same."""
    found: list[str] = []
    if _packs(before) != _packs(now):
        found.append(f"number of packs a step (was {_packs(before)}, now {_packs(now)})")
    micro = before["batch"]["micro"], now["batch"]["micro"]
    if now["data"].get("group_by_length") and micro[0] != micro[1]:
        found.append(f"batch.micro (was {micro[0]}, now {micro[1]}), by which data.group_by_length groups")
    return found


def _packs(tree: dict[str, Any]) -> int:
    batch = tree["batch"]
    return int(batch["micro"] * batch["accumulation"] * (batch["world"] or 1))


def as_begun(before: dict[str, Any], recipe: Recipe, processes: int) -> int | None:
    """How many processes stand behind a step of a run that goes on, where its recipe names no number: as many as it
    began with, or as many as there are now where accumulation has changed by as much the other way."""
    begun: int | None = before.get("batch", {}).get("world")
    now = recipe.tree()
    batch = {**now["batch"], "world": processes}
    return processes if _packs({"batch": batch}) == _packs(before) else begun


def _put_back(folder: RunFolder) -> None:
    """What a process that died while it replaced a checkpoint or the result has left aside."""
    try:
        put_back_all(folder.checkpoints)
        put_back(folder.model)
    except OSError as error:
        raise RunError(
            f"cannot be written: {error.strerror}", place=str(folder.root), remedy="free disk space, or set output.dir"
        ) from error


def _move_aside(folder: RunFolder) -> None:
    name = time.strftime("before-%Y%m%d-%H%M%S")
    # Two runs may begin in one second, and a clock may be set back.
    aside = next(
        one for number in count() if not (one := folder.root / (f"{name}-{number}" if number else name)).exists()
    )
    aside.mkdir()
    for path in list(folder.root.iterdir()):
        if path.name != ".lock" and not path.name.startswith("before-"):
            os.replace(path, aside / path.name)
