"""One process's share of a run: the model and its state, what happens after each step, and the end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from luthier.errors import CheckpointError, LuthierError
from luthier.methods.method import Method, method_of
from luthier.model.adapters import add_adapter
from luthier.model.attention_probe import check_isolation
from luthier.model.frozen import fingerprints, moved
from luthier.model.kernels.apply import facts_of, put_kernels
from luthier.model.kernels.choose import choose
from luthier.model.load import build_model
from luthier.model.merge import merge
from luthier.plan.compute import remember_speed
from luthier.plan.engine import engine_of
from luthier.recipe import Recipe
from luthier.record.checkpoints import size_of
from luthier.record.events import Compared, EventLog, Finished, Saved, Started, Stepped, Stopped, Warned
from luthier.record.folder import RunFolder
from luthier.redaction import redacted
from luthier.train import best, checkpoint, following
from luthier.train.checkpoint import random_tensors, restore_random
from luthier.train.display import Display
from luthier.train.due import due
from luthier.train.engines.choose import engine_for
from luthier.train.engines.engine import Engine
from luthier.train.interrupt import Asked, Interrupted
from luthier.train.loop import train
from luthier.train.measure import Measure
from luthier.train.noise import Noise
from luthier.train.optimizer import build_optimizer
from luthier.train.prepare import Inputs
from luthier.train.ranks import Ranks
from luthier.train.reference import with_reference
from luthier.train.result import save_result, write_model
from luthier.train.resume import Start, check_changes
from luthier.train.saver import Saver
from luthier.train.scaler import Scaler
from luthier.train.schedule import learning_rates, warmup_steps
from luthier.train.surroundings import surroundings
from luthier.train.watch import Watch
from luthier.train.whole_rates import momentum_of
from luthier.train.work import Progress, Work

OWED = "owed"
"""In a checkpoint's progress: the evaluation of its step was interrupted."""

SAVE = 0
"""What a process says that wants a checkpoint; any signal to stop is larger."""


class Session:
    """Trains from a start to the end; every effect goes through the engine, the event log or the folder."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        inputs: Inputs,
        display: Display,
        log: EventLog,
        asked: Asked,
        ranks: Ranks,
    ) -> None:
        self.recipe, self.folder, self.inputs, self.display, self.log, self.asked = (
            recipe,
            folder,
            inputs,
            display,
            log,
            asked,
        )
        self.ranks = ranks
        self.engine: Engine = engine_for(recipe, ranks)
        self.method: Method = method_of(recipe)
        display.stage(f"loading the model from {inputs.model}" if inputs.model else "building the model from scratch")
        special = {f"{name}_id": inputs.encoder.id_of(name) for name in ("bos_token", "eos_token", "pad_token")}
        hollow = self.engine.hands_out and not ranks.first
        with torch.device("meta") if hollow else nullcontext():
            bare = build_model(recipe, inputs.encoder.vocabulary, inputs.model, special, hollow=hollow)
            adapted = add_adapter(bare, recipe, inputs.new_tokens)
        self.kernels = choose(recipe, facts_of(adapted, self.engine.device, self.engine.compute))
        ready = put_kernels(adapted, recipe, self.kernels, self.engine.device)
        # A model that several devices share is put on them later, and kernels of a GPU do not run before.
        if ready.device.type == self.engine.device.type:
            check_isolation(ready, compute=self.engine.compute, autocast=self.engine.autocast)
        self.model: Any = self.engine.wrap(ready)
        self.method = with_reference(self.method, self.model, recipe, inputs, folder, self.engine, display)
        with self.engine.whole(self.model) as here:
            self._prints = fingerprints(self.model) if here else {}
        torch.manual_seed(recipe.seed + ranks.index)
        self.optimizer = self.engine.attach(self.model, self.method, build_optimizer(self.model, recipe))
        alpha = recipe.method.neftune_alpha
        self.noise = Noise(self.model, alpha, recipe.seed) if alpha else None
        self.scaler = Scaler(self.engine.device.type) if self.engine.compute is torch.float16 else None
        self.progress = Progress()
        self.measure = Measure(recipe, folder, inputs, display, log, self.engine, self.method, self._heed)
        self.saver = Saver(folder.checkpoints, recipe.checkpoint, ranks)
        self._saved_at: int | None = None
        self._deaf = False
        if recipe.track.watch and "wandb" in recipe.track.to:
            watch = Watch(self.model, recipe.track.watch, lambda: self.progress.step, log.write)
            if engine_of(recipe, ranks.count).name == "deepspeed":
                display.warn("track.watch: DeepSpeed steps where nothing can be watched")
            else:
                self.optimizer.register_step_pre_hook(watch)
        self.total = inputs.plan.steps
        self.rate = learning_rates(recipe, self.total)
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
            self._collect(wait=True)
            self.log.write(Stopped(step=self.progress.step, reason=str(error) or type(error).__name__))
            self.log.sync()
            raise

    def _carry_out(self, start: Start) -> None:
        begun = time.monotonic()
        self._begin(start)
        if self.progress.step == 0 and self.recipe.evaluate.at_start:
            self.measure.loss(self.model, 0)
            self.measure.answers(self.model, "before", 0)
        owed = self.progress.extra.pop(OWED, False)
        self.display.begin(self.progress.step, self.total)
        first = self.progress.step
        try:
            if not (owed and self._settle(evaluate=True)) and not self.progress.extra.get("stopped"):
                train(self._work(), self.progress, self._after)
        finally:
            self.display.end()
        if self._seconds_of_steps and self.progress.step > first and self.ranks.count == 1:
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
            rate=self.rate,
            momentum=momentum_of(self.recipe.schedule, self.total, warmup_steps(self.recipe.schedule, self.total)),
            store=self.inputs.store,
            documents=self.inputs.documents,
            feed=self.inputs.feed,
            total=self.total,
            clip=self.recipe.optimizer.clip,
            noise=self.noise,
            scaler=self.scaler,
            most_skipped=self.recipe.precision.most_skipped,
            find_micro=self.recipe.batch.find_micro,
            debug=self.recipe.runtime.debug,
            alone=self.ranks.count == 1,
            tell=self._warn_of,
        )

    def _begin(self, start: Start) -> None:
        for message in start.skipped:
            self._warn(f"passed over a damaged checkpoint: {message}")
        if start.checkpoint is not None:
            state = checkpoint.load(start.checkpoint, dict(self.model.named_parameters()))
            self._put_back(state, str(start.checkpoint))
            self._saved_at = self.progress.step
            self.display.stage(f"going on from {start.checkpoint}")
        environment = {
            **surroundings(self.engine.device),
            "processes": self.ranks.count,
            "engine": type(self.engine).__name__,
            "compute": str(self.engine.compute).removeprefix("torch."),
            "kernels": {name: one.name for name, one in self.kernels.items()},
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
        for change in check_changes(state.progress.pop("recipe", None), self.recipe.tree(), place):
            self._warn(f"goes on with another {change}")
        if not state.optimizer:
            raise CheckpointError("holds no optimiser state", place=place, remedy="set checkpoint.resume: never")
        self.engine.restore(self.model, self.optimizer, state)
        self.progress = Progress(**state.progress)
        following.go_on(self.rate, self.progress)
        if self.scaler is not None and "scaler" in self.progress.extra:
            self.scaler.restore(self.progress.extra["scaler"])

    def _after(self, event: Stepped) -> bool:
        """What happens after a step; returns whether the run is to stop."""
        self.asked.at_once = False
        self._seconds_of_steps += event.seconds
        last = event.step == self.total
        if self._recorded(event.step) or last or (event.step == 1 and self.recipe.track.first_step) or event.skipped:
            self.log.write(event)
        self.display.stepped(event)
        return self._settle(evaluate=self.inputs.evaluation is not None and self._evaluation_due(event.step))

    def _settle(self, *, evaluate: bool) -> bool:
        """What is due once a step is taken: an evaluation, a checkpoint, the end that a signal asks for; returns
        whether the run is to stop."""
        self._collect()
        step, stop, improved = self.progress.step, False, False
        if evaluate:
            improved = self._evaluated_or_owed()
            stop = best.out_of_patience(self.progress, self.recipe.evaluate)
        if stop:
            self._reason = self.progress.extra["stopped"] = "early stopping"
        number, last = self._said(), step == self.total
        asked = number if number != SAVE else None
        end = last and self.recipe.checkpoint.every != "never"
        due = self._checkpoint_due(step) or stop or end or (improved and self.recipe.evaluate.keep_best)
        tried = due or number is not None
        saved = tried and self._save()
        if asked is None and self.ranks.count == 1:
            asked = self.asked.number
        if asked is not None and not last:
            saved = saved if tried else self._save()
            raise Interrupted(asked, self._collect(wait=True) if saved else False)
        return stop

    def _said(self) -> int | None:
        """The signal that any process has had, ``SAVE`` where a checkpoint is wanted, or None."""
        wanted = self.ranks.first and self.folder.wanted.exists()
        if wanted:
            with suppress(OSError):
                self.folder.wanted.unlink()
        number = self.asked.number or (SAVE if wanted or self.asked.save else None)
        self.asked.save = False
        return self.ranks.largest(number)

    def _heed(self) -> None:
        """Stop here if any process has been asked to; all come here equally often.

        Raises:
            Interrupted: one has been.
        """
        number = None if self._deaf else self.ranks.largest(self.asked.number)
        if number is not None:
            raise Interrupted(number)

    def _evaluated_or_owed(self) -> bool:
        """Measure the model; if that is interrupted, it is the first thing to do once the run goes on."""
        kept = random_tensors(self.engine.device)
        try:
            return self._evaluated()
        except Interrupted as stopped:
            restore_random(kept, self.engine.device)
            self.progress.extra[OWED] = True
            stopped.saved = self._save() and self._collect(wait=True)
            raise

    def _evaluated(self) -> bool:
        """Measure the model; returns whether it has never been better."""
        step = self.progress.step
        figures = {**self.measure.loss(self.model, step), **self.measure.answers_during(self.model, step)}
        following.tell(self.rate, figures, self.recipe.evaluate.best_metric, self.progress)
        return best.note(self.progress, figures, self.recipe.evaluate)

    def _save(self) -> bool:
        """Save the whole state; returns whether it is saved, or with ``checkpoint.asynchronous`` being written."""
        self._collect(wait=True)
        self.ranks.reach(f"the checkpoint of step {self.progress.step}")
        only = self.recipe.checkpoint.weights_only
        if self.scaler is not None:
            self.progress.extra["scaler"] = self.scaler.state()
        state = checkpoint.State(
            **self.engine.state(self.model, self.optimizer, weights_only=only),
            progress={**asdict(self.progress), "data": self.inputs.store.key, "recipe": redacted(self.recipe.tree())},
        )
        self.log.sync()
        if self.recipe.output.hub.push and self.recipe.output.hub.strategy != "end":
            name = f"step-{self.progress.step:08d}"
            with self.engine.whole(self.model) as here:
                self.ranks.after_first(f"the draft of {name}", partial(self._draft, name, here))
        spare = self.progress.best_step if self.recipe.evaluate.keep_best else None
        self.saver.begin(self.progress.step, state, spare)
        return self.recipe.checkpoint.asynchronous or self._collect(wait=True)

    def _collect(self, *, wait: bool = False) -> bool:
        """Record a save that has come to its end; returns whether the last checkpoint holds this step."""
        outcome = self.saver.taken(wait)
        if outcome is not None and outcome.trouble:
            self._warn(outcome.trouble)
            if self.ranks.first:
                shutil.rmtree(self.folder.drafts / f"step-{outcome.step:08d}", ignore_errors=True)
        if outcome is not None and outcome.path is not None:
            self._saved_at = outcome.step
            path = self._inside(outcome.path)
            event = Saved(step=outcome.step, path=path, bytes=outcome.bytes, seconds=outcome.seconds)
            if self.ranks.first:
                self.log.write(event)
                self.display.saved(event)
        whole = self._saved_at == self.progress.step
        # With several processes a step is a conversation, which all of them have to leave at the same word.
        self.asked.at_once = whole and self.ranks.count == 1
        return whole

    def _draft(self, name: str, here: bool) -> None:
        """The model as it is now, for the hub, in the types it has: weights that train are not rounded."""
        try:
            if here:
                shutil.rmtree(self.folder.drafts / name, ignore_errors=True)
                write_model(self.model, self.recipe, self.inputs, self.folder.drafts / name)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(self.folder.drafts / name, ignore_errors=True)
            self._warn(f"the model of step {self.progress.step} is not uploaded: {error}")

    def _inside(self, path: Path) -> str:
        """A path as seen from the run's folder, which may be moved."""
        return str(path.relative_to(self.folder.root)) if path.is_relative_to(self.folder.root) else str(path)

    def _warn(self, message: str) -> None:
        self._warn_of(self.progress.step, message, ())

    def _warn_of(self, step: int, message: str, rows: Sequence[str]) -> None:
        self.log.write(Warned(step=step, message=message, rows=list(rows)))
        self.display.warn(message)

    def _choose(self) -> None:
        """Give the model its best weights again, where the recipe ends with them and they are not the last."""
        if not self.recipe.evaluate.keep_best:
            return
        metric = self.recipe.evaluate.best_metric
        chosen = best.put_back(self.model, self.engine, self.folder.checkpoints, self.progress, metric)
        if isinstance(chosen, str):
            self._warn(chosen)
        elif chosen is not None:
            self.log.write(chosen)
            self.display.chosen(chosen)

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
                before=found.before,
                after=found.after,
            )
        )
        self.display.stage(str(found))
        if found.drifted:
            self._warn(str(found))

    def _result(self) -> None:
        """Compare and save the whole model."""
        self._compare()
        event = save_result(self.model, self.recipe, self.inputs, self.folder, self.progress.step)
        self.log.write(event)
        self.display.saved(event)
        if self.recipe.output.merge and self.recipe.adapter.kind != "none":
            self._merge()

    def _merge(self) -> None:
        """The adapter in its base as a whole model, beside the result; a run that cannot merge is finished all the
        same, for the adapter is saved."""
        self.display.stage("merging the adapter into its base")
        begun, out = time.monotonic(), self.folder.merged
        shutil.rmtree(out, ignore_errors=True)
        try:
            merge(self.folder.model, out)
        except (LuthierError, OSError, SafetensorError) as error:
            self._warn(f"the adapter is saved and not merged: {error}")
            return
        event = Saved(
            step=self.progress.step, path=self._inside(out), bytes=size_of(out), seconds=time.monotonic() - begun
        )
        self.log.write(event)
        self.display.saved(event)

    def _end(self, begun: float) -> None:
        try:
            self._finish(begun)
        except Interrupted as stopped:
            stopped.saved = self._collect(wait=True) or (self._save() and self._collect(wait=True))
            raise

    def _finish(self, begun: float) -> None:
        self._collect(wait=True)
        self._heed()
        reason = str(self.progress.extra.get("stopped", self._reason))
        if self.inputs.evaluation is not None and not self._evaluation_due(self.progress.step):
            if self.recipe.evaluate.keep_best:
                self._evaluated()
            else:
                self.measure.loss(self.model, self.progress.step)
        # What comes may put the best weights in the place of the last, or bring them to another type: from here on a
        # state that is not saved yet could not be.
        self._deaf = self._saved_at != self.progress.step
        self._choose()
        with self.engine.whole(self.model) as here:
            self.ranks.after_first("saving the result", self._result if here else lambda: None)
        self.measure.answers(self.model, "after", self.progress.step)
        if self.ranks.first:
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
