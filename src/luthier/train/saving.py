"""Saving a run as it goes: its whole state, and drafts of its model for the hub."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from functools import partial

from safetensors import SafetensorError

from luthier.record.events import Saved
from luthier.redaction import redacted
from luthier.train import checkpoint
from luthier.train.built import Built
from luthier.train.interrupt import Asked
from luthier.train.result import write_model
from luthier.train.saver import Saver


class Saving:
    """Saves what is built, and keeps account of what is saved; ``step`` is that of the last whole checkpoint."""

    def __init__(self, built: Built, asked: Asked) -> None:
        self.step: int | None = None
        self._built, self._asked = built, asked
        self._saver = Saver(built.folder.checkpoints, built.recipe.checkpoint, built.ranks)

    def save(self) -> bool:
        """Save the whole state; returns whether it is saved, or with ``checkpoint.asynchronous`` being written."""
        built = self._built
        recipe, progress = built.recipe, built.progress
        self.collect(wait=True)
        built.ranks.reach(f"the checkpoint of step {progress.step}")
        if built.scaler is not None:
            progress.extra["scaler"] = built.scaler.state()
        state = checkpoint.State(
            **built.engine.state(built.model, built.optimizer, weights_only=recipe.checkpoint.weights_only),
            progress={**asdict(progress), "data": built.inputs.store.key, "recipe": redacted(recipe.tree())},
        )
        built.log.sync()
        if recipe.output.hub.push and recipe.output.hub.strategy != "end":
            name = f"step-{progress.step:08d}"
            with built.engine.whole(built.model) as here:
                built.ranks.after_first(f"the draft of {name}", partial(self._draft, name, here))
        spare = progress.best_step if recipe.evaluate.keep_best else None
        self._saver.begin(progress.step, state, spare)
        return recipe.checkpoint.asynchronous or self.collect(wait=True)

    def collect(self, *, wait: bool = False) -> bool:
        """Record a save that has come to its end; returns whether the last checkpoint holds this step."""
        built = self._built
        outcome = self._saver.taken(wait)
        if outcome is not None and outcome.trouble:
            built.warn(outcome.trouble)
            if built.ranks.first:
                shutil.rmtree(built.folder.drafts / f"step-{outcome.step:08d}", ignore_errors=True)
        if outcome is not None and outcome.path is not None:
            self.step = outcome.step
            path = built.inside(outcome.path)
            event = Saved(step=outcome.step, path=path, bytes=outcome.bytes, seconds=outcome.seconds)
            if built.ranks.first:
                built.log.write(event)
                built.display.saved(event)
        whole = self.step == built.progress.step
        # With several processes a step is a conversation, which all of them have to leave at the same word.
        self._asked.at_once = whole and built.ranks.count == 1
        return whole

    def _draft(self, name: str, here: bool) -> None:
        """The model as it is now, for the hub, in the types it has: weights that train are not rounded."""
        built = self._built
        place = built.folder.drafts / name
        try:
            if here:
                shutil.rmtree(place, ignore_errors=True)
                write_model(built.model, built.recipe, built.inputs, place)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(place, ignore_errors=True)
            built.warn(f"the model of step {built.progress.step} is not uploaded: {error}")
