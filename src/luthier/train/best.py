"""The best evaluation so far: what improves on it, when patience is at its end, and its weights again at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from luthier.errors import RunError
from luthier.recipe.evaluate import Evaluate
from luthier.record.checkpoints import damage
from luthier.record.events import Chosen
from luthier.train import checkpoint
from luthier.train.engines.engine import Engine
from luthier.train.work import Progress


def note(progress: Progress, figures: Mapping[str, float], settings: Evaluate) -> bool:
    """Keep count of an evaluation; returns whether it is the best so far, by at least ``evaluate.threshold``.

    Raises:
        RunError: the figures lack ``evaluate.best_metric``, and something goes by it.
    """
    metric = settings.best_metric
    if metric not in figures:
        if figures and (settings.keep_best or settings.patience is not None):
            raise RunError(
                f"{metric} is not among what is evaluated: {', '.join(figures)}",
                place="evaluate.best_metric",
                remedy="name one of them; answers are scored with evaluate.generate_during: true",
            )
        return False
    value = figures[metric]
    gain = 0.0 if progress.best is None else value - progress.best
    gain = gain if settings.higher_is_better else -gain
    if math.isfinite(value) and (progress.best is None or gain > settings.threshold):
        progress.best, progress.best_step, progress.without_improvement = value, progress.step, 0
        return True
    progress.without_improvement += 1
    return False


def out_of_patience(progress: Progress, settings: Evaluate) -> bool:
    """Whether so many evaluations brought no improvement that the run is to stop."""
    return settings.patience is not None and progress.without_improvement >= settings.patience


def put_back(
    model: torch.nn.Module, engine: Engine, folder: Path, progress: Progress, metric: str
) -> Chosen | str | None:
    """Give a model the weights of its best evaluation again, unless these are its last; what was done, or why not.

    Raises:
        CheckpointError: the checkpoint cannot be read, though it is whole.
    """
    step = progress.best_step
    if progress.best is None or step == progress.step:
        return None
    path = folder / f"step-{step:08d}"
    wrong = damage(path)
    if wrong is not None:
        return f"the result has the last weights: the best checkpoint, of step {step}, is damaged: {wrong}"
    engine.put(model, checkpoint.load(path, weights_only=True).weights)
    return Chosen(step=progress.step, best_step=step, metric=metric, value=progress.best)
