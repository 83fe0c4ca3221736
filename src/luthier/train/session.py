"""One process's share of a run: the model and its state, what happens after each step, and the end."""

from __future__ import annotations

import platform
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

import luthier
from luthier.environment import cores
from luthier.errors import CheckpointError, LuthierError
from luthier.methods.method import Method
from luthier.model.adapters import add_adapter
from luthier.model.frozen import fingerprints, moved
from luthier.model.load import build_model
from luthier.model.merge import merge
from luthier.plan.compute import remember_speed
from luthier.recipe import Recipe
from luthier.record.checkpoints import retire
from luthier.record.events import Compared, EventLog, Finished, Saved, Started, Stepped, Stopped, Warned
from luthier.record.folder import RunFolder
from luthier.registry import resolve
from luthier.train import checkpoint
from luthier.train.display import Display
from luthier.train.due import due
from luthier.train.engines.engine import Engine
from luthier.train.interrupt import Asked, Interrupted
from luthier.train.loop import Progress, Work, train
from luthier.train.measure import Measure
from luthier.train.optimizer import build_optimizer
from luthier.train.prepare import Inputs
from luthier.train.result import save_result
from luthier.train.resume import Start
from luthier.train.schedule import learning_rates


class Session:
    """Trains from a start to the end; every effect goes through the engine, the event log or the folder."""

    def __init__(
        self, recipe: Recipe, folder: RunFolder, inputs: Inputs, display: Display, log: EventLog, asked: Asked
    ) -> None:
        self.recipe, self.folder, self.inputs, self.display, self.log, self.asked = (
            recipe,
            folder,
            inputs,
            display,
            log,
            asked,
        )
        engine = "single" if recipe.parallel.engine == "auto" else recipe.parallel.engine
        self.engine: Engine = resolve("engines", engine)(recipe)
        self.method: Method = resolve("methods", recipe.method.kind)()
        display.stage(f"loading the model from {inputs.model}" if inputs.model else "building the model from scratch")
        special = {f"{name}_id": inputs.encoder.id_of(name) for name in ("bos_token", "eos_token", "pad_token")}
        bare = build_model(recipe, inputs.encoder.vocabulary, inputs.model, special)
        self.model: Any = self.engine.wrap(add_adapter(bare, recipe, inputs.new_tokens))
        self._prints = fingerprints(self.model)
        torch.manual_seed(recipe.seed)
        self.optimizer = build_optimizer(self.model, recipe)
        self.progress = Progress()
        self.measure = Measure(recipe, folder, inputs, display, log, self.engine, self.method)
        self.total = inputs.plan.steps
        per_epoch = inputs.plan.steps_per_epoch
        self._evaluation_due = due(recipe.evaluate.every, self.total, per_epoch, recipe.evaluate.delay)
        self._checkpoint_due = due(recipe.checkpoint.every, self.total, per_epoch)
        self._recorded = due(recipe.track.every, self.total, per_epoch)
        self._reason = "steps"
        self._seconds_of_steps = 0.0

    def carry_out(self, start: Start) -> None:
        """Resume or begin, train, measure, save; whatever ends it early is recorded before it is raised."""
        try:
            self._carry_out(start)
        except (LuthierError, Interrupted, KeyboardInterrupt) as error:
            self.log.write(Stopped(step=self.progress.step, reason=str(error) or type(error).__name__))
            self.log.sync()
            raise

    def _carry_out(self, start: Start) -> None:
        begun = time.monotonic()
        self._begin(start)
        if self.progress.step == 0 and self.recipe.evaluate.at_start:
            self._measure_loss()
            self.measure.answers(self.model, "before", 0)
        self.display.begin(self.progress.step, self.total)
        first = self.progress.step
        try:
            if not self.progress.extra.get("stopped"):
                train(self._work(), self.progress, self._after)
        finally:
            self.display.end()
        if self._seconds_of_steps and self.progress.step > first:
            done = (self.progress.step - first) / self.total
            plan = self.inputs.plan
            remember_speed(self.engine.device.type, plan.compute, plan.operations * done / self._seconds_of_steps)
        self._end(begun)

    def _work(self) -> Work:
        return Work(
            model=self.model,
            method=self.method,
            engine=self.engine,
            optimizer=self.optimizer,
            rate=learning_rates(self.recipe, self.total),
            store=self.inputs.store,
            documents=self.inputs.documents,
            feed=self.inputs.feed,
            total=self.total,
            clip=self.recipe.optimizer.clip,
        )

    def _begin(self, start: Start) -> None:
        for message in start.skipped:
            self._warn(f"passed over a damaged checkpoint: {message}")
        if start.checkpoint is not None:
            state = checkpoint.load(start.checkpoint)
            self._put_back(state, str(start.checkpoint))
            self.display.stage(f"going on from {start.checkpoint}")
        environment = {
            "luthier": luthier.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
            "platform": platform.platform(),
            "cores": cores(),
            "threads": torch.get_num_threads(),
            "compute": str(self.engine.compute).removeprefix("torch."),
        }
        self.log.write(
            Started(
                step=self.progress.step,
                steps=self.total,
                resumed_from=self._inside(start.checkpoint) if start.checkpoint else None,
                device=str(self.engine.device),
                environment=environment,
            )
        )
        for event in self.inputs.events if self.progress.step == 0 else ():
            self.log.write(event)

    def _put_back(self, state: checkpoint.State, place: str) -> None:
        data = state.progress.pop("data", None)
        if data != self.inputs.store.key:
            raise CheckpointError(
                "was made with other training rows",
                place=place,
                remedy="put the rows back, or set output.dir to another folder",
            )
        if not state.optimizer:
            raise CheckpointError("holds no optimiser state", place=place, remedy="set checkpoint.resume: never")
        own = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, tensor in state.weights.items():
                own[name].copy_(tensor)
        checkpoint.restore_optimizer(self.optimizer, state.optimizer)
        checkpoint.restore_random(state.random, self.engine.device)
        self.progress = Progress(**state.progress)

    def _after(self, event: Stepped) -> bool:
        """What happens after a step; returns whether the run is to stop."""
        self._seconds_of_steps += event.seconds
        last = event.step == self.total
        if self._recorded(event.step) or last or (event.step == 1 and self.recipe.track.first_step) or event.skipped:
            self.log.write(event)
        self.display.stepped(event)
        if event.skipped:
            self._warn(f"step {event.step} was skipped: its loss or gradient is not finite")
        stop = False
        if self.inputs.evaluation is not None and self._evaluation_due(event.step):
            stop = self._no_improvement(self._measure_loss())
            self.measure.answers_during(self.model, event.step)
        if stop:
            self._reason = self.progress.extra["stopped"] = "early stopping"
        asked = self.asked.number
        if self._checkpoint_due(event.step) or stop or (last and self.recipe.checkpoint.every != "never") or asked:
            self._save()
        if asked is not None and not last:
            raise Interrupted(asked)
        return stop

    def _measure_loss(self) -> float | None:
        return self.measure.loss(self.model, self.progress.step)

    def _no_improvement(self, loss: float | None) -> bool:
        """Keep count of evaluations without improvement; returns whether patience is at its end."""
        progress, settings = self.progress, self.recipe.evaluate
        if loss is None:
            return False
        if progress.best is None or loss < progress.best - settings.threshold:
            progress.best, progress.best_step, progress.without_improvement = loss, progress.step, 0
        else:
            progress.without_improvement += 1
        return settings.patience is not None and progress.without_improvement >= settings.patience

    def _save(self) -> None:
        begun = time.monotonic()
        weights = {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        only = self.recipe.checkpoint.weights_only
        state = checkpoint.State(
            weights=weights,
            optimizer={} if only else checkpoint.optimizer_tensors(self.optimizer),
            random=checkpoint.random_tensors(self.engine.device),
            progress={**asdict(self.progress), "data": self.inputs.store.key},
        )
        self.log.sync()
        try:
            path = checkpoint.save(self.folder.checkpoints, f"step-{self.progress.step:08d}", state)
        except CheckpointError as error:
            self._warn(str(error))
            return
        retire(self.folder.checkpoints, self.recipe.checkpoint.keep_last)
        size = sum(file.stat().st_size for file in path.iterdir())
        event = Saved(step=self.progress.step, path=self._inside(path), bytes=size, seconds=time.monotonic() - begun)
        self.log.write(event)
        self.display.saved(event)

    def _inside(self, path: Path) -> str:
        """A path as seen from the run's folder, which may be moved."""
        return str(path.relative_to(self.folder.root)) if path.is_relative_to(self.folder.root) else str(path)

    def _warn(self, message: str) -> None:
        self.log.write(Warned(step=self.progress.step, message=message))
        self.display.warn(message)

    def _compare(self) -> None:
        """Prove that what trains has moved and nothing else."""
        found = moved(self._prints, self.model)
        self.log.write(
            Compared(
                step=self.progress.step,
                moved=found.trained,
                unmoved=found.frozen,
                stood_still=list(found.stood_still),
                drifted=list(found.drifted),
            )
        )
        self.display.stage(str(found))
        if found.drifted:
            self._warn(str(found))

    def _merge(self) -> None:
        """The adapter in its base as a whole model, beside the result."""
        self.display.stage("merging the adapter into its base")
        out = self.folder.root / "merged"
        shutil.rmtree(out, ignore_errors=True)
        merge(self.folder.model, out)

    def _end(self, begun: float) -> None:
        reason = str(self.progress.extra.get("stopped", self._reason))
        if self.inputs.evaluation is not None and not self._evaluation_due(self.progress.step):
            self._measure_loss()
        self._compare()
        event = save_result(self.model, self.recipe, self.inputs, self.folder, self.progress.step)
        self.log.write(event)
        self.display.saved(event)
        if self.recipe.output.merge and self.recipe.adapter.kind != "none":
            self._merge()
        self.measure.answers(self.model, "after", self.progress.step)
        self.measure.table()
        self.log.write(
            Finished(
                step=self.progress.step,
                reason=reason,
                seconds=time.monotonic() - begun,
                result=self._inside(self.folder.model),
            )
        )
        self.log.sync()
