"""Whether a run's checkpoints and its result find room on the disk: asked before the first step."""

from __future__ import annotations

import shutil
from pathlib import Path

from luthier.errors import RunError
from luthier.plan.plan import Plan
from luthier.recipe import Recipe
from luthier.record.checkpoints import checkpoints, size_of
from luthier.record.folder import RunFolder
from luthier.train.due import due

MOST = 10_000
"""Steps of a run that are looked at; a longer one has its saves scaled up from them."""


def check_room(recipe: Recipe, plan: Plan, folder: RunFolder) -> str:
    """What to warn of, or nothing. The checkpoints that lie there already make room as they are replaced.

    Raises:
        RunError: not even one checkpoint and the result find room.
    """
    one, result = plan.disk["checkpoint"], plan.disk["result"]
    there = [size_of(path) for path in checkpoints(folder.checkpoints)]
    free = shutil.disk_usage(_existing(folder.root)).free + sum(there)
    held = kept(recipe, plan)
    least, most = min(held, 1) * one + result, held * one + result
    if free >= most:
        return ""
    told = f"{_size(free)} free, and {held:,} checkpoints of {_size(one)} with a result of {_size(result)}"
    if free < least:
        raise RunError(
            f"has too little room: {told} were to be written",
            place=str(folder.root),
            remedy="free disk space, set output.dir to another disk, or checkpoint.every: never",
        )
    return f"the disk will be full before the run ends ({told}): saves will fail; lower checkpoint.keep_last"


def kept(recipe: Recipe, plan: Plan) -> int:
    """How many checkpoints lie on the disk at the most: those that are kept, and the one that is being written."""
    settings = recipe.checkpoint
    looked = min(plan.steps, MOST)
    is_due = due(settings.every, plan.steps, plan.steps_per_epoch)
    steps = [step for step in range(1, looked + 1) if is_due(step)]
    last = 0 if settings.every == "never" or (steps and steps[-1] == plan.steps) else 1
    saves = len(steps) * plan.steps // max(1, looked) + last
    if settings.keep_last is None or saves <= settings.keep_last:
        return saves
    spared = sum(step % settings.keep_every == 0 for step in steps) if settings.keep_every else 0
    best = 1 if recipe.evaluate.keep_best else 0
    return min(saves, settings.keep_last + 1 + best + spared * plan.steps // max(1, looked))


def _existing(path: Path) -> Path:
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
