"""What one process of a run works with, built before its first step: the model, its objective, its optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from luthier.methods.method import Method, method_of
from luthier.model.adapters import add_adapter
from luthier.model.attention_probe import check_isolation
from luthier.model.frozen import Print, fingerprints
from luthier.model.kernels.apply import facts_of, put_kernels
from luthier.model.kernels.choose import choose
from luthier.model.load import build_model
from luthier.plan.engine import engine_of
from luthier.recipe import Recipe
from luthier.record.events import EventLog, Warned
from luthier.record.folder import RunFolder
from luthier.train.display import Display
from luthier.train.engines.choose import engine_for
from luthier.train.engines.engine import Engine
from luthier.train.noise import Noise
from luthier.train.optimizer import build_optimizer
from luthier.train.prepare import Inputs
from luthier.train.ranks import Ranks
from luthier.train.reference import with_reference
from luthier.train.scaler import Scaler
from luthier.train.watch import Watch
from luthier.train.work import Progress


@dataclass(slots=True)
class Built:
    """What the rooms of a session share.

    ``kernels`` is the name of each kernel by what it computes; ``prints`` are the parameters' fingerprints at the
    start, empty in processes that do not see them whole.
    """

    recipe: Recipe
    folder: RunFolder
    inputs: Inputs
    display: Display
    log: EventLog
    ranks: Ranks
    engine: Engine
    method: Method
    model: Any
    optimizer: torch.optim.Optimizer
    kernels: dict[str, str]
    prints: dict[str, Print]
    noise: Noise | None
    scaler: Scaler | None
    progress: Progress = field(default_factory=Progress)

    def inside(self, path: Path) -> str:
        """A path as seen from the run's folder, which may be moved."""
        return str(path.relative_to(self.folder.root)) if path.is_relative_to(self.folder.root) else str(path)

    def warn(self, message: str) -> None:
        """Tell the user, and the log."""
        self.warn_of(self.progress.step, message, ())

    def warn_of(self, step: int, message: str, rows: Sequence[str]) -> None:
        """Tell of a step, and of the rows that it concerns."""
        self.log.write(Warned(step=step, message=message, rows=list(rows)))
        self.display.warn(message)


def build(recipe: Recipe, folder: RunFolder, inputs: Inputs, display: Display, log: EventLog, ranks: Ranks) -> Built:
    """Load or make the model, put the adapter and kernels on it, hand it to the engine, and build its optimiser.

    Raises:
        LuthierError: the model cannot be opened, or does not fit the recipe.
    """
    engine = engine_for(recipe, ranks)
    display.stage(f"loading the model from {inputs.model}" if inputs.model else "building the model from scratch")
    special = inputs.encoder.special_ids()
    hollow = engine.hands_out and not ranks.first
    with torch.device("meta") if hollow else nullcontext():
        bare = build_model(recipe, inputs.encoder.vocabulary, inputs.model, special, hollow=hollow)
        adapted = add_adapter(bare, recipe, inputs.new_tokens)
    trained = sum(one.numel() for one in adapted.parameters() if one.requires_grad)
    kernels = choose(recipe, facts_of(adapted, engine.device, engine.compute))
    ready = put_kernels(adapted, recipe, kernels, engine.device)
    # A model that several devices share is put on them later, and kernels of a GPU do not run before.
    if ready.device.type == engine.device.type:
        check_isolation(ready, compute=engine.compute, autocast=engine.autocast)
    model = engine.wrap(ready)
    method = with_reference(method_of(recipe), model, recipe, inputs, folder, engine, display)
    with engine.whole(model) as here:
        prints = fingerprints(model) if here else {}
    torch.manual_seed(recipe.seed + ranks.index)
    alpha = recipe.method.neftune_alpha
    built = Built(
        recipe=recipe,
        folder=folder,
        inputs=inputs,
        display=display,
        log=log,
        ranks=ranks,
        engine=engine,
        method=method,
        model=model,
        optimizer=engine.attach(model, method, build_optimizer(model, recipe)),
        kernels={name: one.name for name, one in kernels.items()},
        prints=prints,
        noise=Noise(model, alpha, recipe.seed) if alpha else None,
        scaler=Scaler(engine.device.type) if engine.compute is torch.float16 else None,
    )
    planned = inputs.plan.parameters["trainable"]
    if trained != planned:
        built.warn(
            f"{trained:,} parameters train, not {planned:,} as planned: memory and disk are planned off by as much"
        )
    if recipe.track.watch and "wandb" in recipe.track.to:
        _watch(built, recipe.track.watch)
    return built


def _watch(built: Built, which: str) -> None:
    watch = Watch(built.model, which, lambda: built.progress.step, built.log.write)
    if engine_of(built.recipe, built.ranks.count).name == "deepspeed":
        built.display.warn("track.watch: DeepSpeed steps where nothing can be watched")
    else:
        built.optimizer.register_step_pre_hook(watch)
