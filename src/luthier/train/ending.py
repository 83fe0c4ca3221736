"""A run's end: the weights that it ends with, the proof of what moved, the result on disk."""

from __future__ import annotations

import shutil
import time

from safetensors import SafetensorError

from luthier.errors import LuthierError
from luthier.model.frozen import moved
from luthier.model.merge import merge
from luthier.record.checkpoints import size_of
from luthier.record.events import Compared, Saved
from luthier.train import best
from luthier.train.built import Built
from luthier.train.result import save_result


def choose_weights(built: Built) -> None:
    """Give the model its best weights again, where the recipe ends with them and they are not the last.

    Raises:
        CheckpointError: they cannot be read, though their checkpoint is whole.
    """
    settings = built.recipe.evaluate
    if not settings.keep_best:
        return
    chosen = best.put_back(built.model, built.engine, built.folder.checkpoints, built.progress, settings.best_metric)
    if isinstance(chosen, str):
        built.warn(chosen)
    elif chosen is not None:
        built.log.write(chosen)
        built.display.chosen(chosen)


def write_result(built: Built) -> None:
    """Compare and save the whole model, and merge its adapter where the recipe asks for it.

    Raises:
        RunError: the disk is full or failing.
        ModelError: what was written is not what was to be written.
    """
    _compare(built)
    event = save_result(built.model, built.recipe, built.inputs, built.folder, built.progress.step)
    built.log.write(event)
    built.display.saved(event)
    if built.recipe.output.merge and built.recipe.adapter.kind != "none":
        _merge(built)


def _compare(built: Built) -> None:
    """Prove that what trains has moved and nothing else."""
    found = moved(built.prints, built.model)
    built.log.write(
        Compared(
            step=built.progress.step,
            moved=found.trained,
            unmoved=found.frozen,
            stood_still=list(found.stood_still),
            drifted=list(found.drifted),
            before=found.before,
            after=found.after,
        )
    )
    built.display.stage(str(found))
    if found.drifted:
        built.warn(str(found))


def _merge(built: Built) -> None:
    """The adapter in its base as a whole model, beside the result; a run that cannot merge is finished all the same,
    for the adapter is saved."""
    built.display.stage("merging the adapter into its base")
    begun, out = time.monotonic(), built.folder.merged
    shutil.rmtree(out, ignore_errors=True)
    try:
        merge(built.folder.model, out, dtype=built.recipe.output.dtype)
    except (LuthierError, OSError, SafetensorError) as error:
        built.warn(f"the adapter is saved and not merged: {error}")
        return
    event = Saved(
        step=built.progress.step, path=built.inside(out), bytes=size_of(out), seconds=time.monotonic() - begun
    )
    built.log.write(event)
    built.display.saved(event)
