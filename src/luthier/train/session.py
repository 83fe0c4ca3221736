"""One process's share of a run: from where it starts, step by step with what is due after each, to its end."""

from __future__ import annotations

import time

from luthier.errors import CheckpointError, LuthierError
from luthier.plan.compute import remember_speed
from luthier.recipe import Recipe
from luthier.record.events import EventLog, Finished, Started, Stepped, Stopped
from luthier.record.folder import RunFolder
from luthier.train import best, checkpoint, following
from luthier.train.built import build
from luthier.train.checkpoint import random_tensors, restore_random
from luthier.train.display import Display
from luthier.train.due import due
from luthier.train.ending import choose_weights, write_result
from luthier.train.heed import SAVE, Heed
from luthier.train.interrupt import Asked, Interrupted
from luthier.train.loop import train
from luthier.train.measure import Measure
from luthier.train.prepare import Inputs
from luthier.train.ranks import Ranks
from luthier.train.resume import Start, check_changes
from luthier.train.saving import Saving
from luthier.train.schedule import learning_rates, warmup_steps
from luthier.train.surroundings import surroundings
from luthier.train.whole_rates import momentum_of
from luthier.train.work import Progress, Work

OWED = "owed"
"""In a checkpoint's progress: the evaluation of its step was interrupted."""


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
        self.recipe, self.inputs, self.display, self.log, self.asked, self.ranks = (
            recipe,
            inputs,
            display,
            log,
            asked,
            ranks,
        )
        self.built = build(recipe, folder, inputs, display, log, ranks)
        self.heed = Heed(asked, ranks, folder.wanted)
        self.saving = Saving(self.built, asked)
        self.measure = Measure(
            recipe, folder, inputs, display, log, self.built.engine, self.built.method, self.heed.stop
        )
        self.total = inputs.plan.steps
        self.rate = learning_rates(recipe, self.total)
        per_epoch = inputs.plan.steps_per_epoch
        self._evaluation_due = due(recipe.evaluate.every, self.total, per_epoch, recipe.evaluate.delay)
        self._checkpoint_due = due(recipe.checkpoint.every, self.total, per_epoch)
        self._recorded = due(recipe.track.every, self.total, per_epoch)
        self._reason = "steps"
        self._seconds_of_steps = 0.0

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return self.built.progress

    def carry_out(self, start: Start) -> None:
        """Resume or begin, train, measure, save; whatever ends it early is recorded before it is raised."""
        try:
            self._carry_out(start)
        except (LuthierError, Interrupted, KeyboardInterrupt) as error:
            self.saving.collect(wait=True)
            self.log.write(Stopped(step=self.progress.step, reason=str(error) or type(error).__name__))
            self.log.sync()
            raise

    def _carry_out(self, start: Start) -> None:
        begun = time.monotonic()
        self._begin(start)
        if self.progress.step == 0 and self.recipe.evaluate.at_start:
            self.measure.loss(self.built.model, 0)
            self.measure.answers(self.built.model, "before", 0)
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
            speed = plan.operations * done / self._seconds_of_steps
            remember_speed(self.built.engine.device.type, plan.compute, speed)
        self._end(begun)

    def _work(self) -> Work:
        recipe, built = self.recipe, self.built
        return Work(
            model=built.model,
            method=built.method,
            engine=built.engine,
            optimizer=built.optimizer,
            rate=self.rate,
            momentum=momentum_of(recipe.schedule, self.total, warmup_steps(recipe.schedule, self.total)),
            store=self.inputs.store,
            documents=self.inputs.documents,
            feed=self.inputs.feed,
            total=self.total,
            clip=recipe.optimizer.clip,
            noise=built.noise,
            scaler=built.scaler,
            most_skipped=recipe.precision.most_skipped,
            find_micro=recipe.batch.find_micro,
            debug=recipe.runtime.debug,
            alone=self.ranks.count == 1,
            tell=built.warn_of,
        )

    def _begin(self, start: Start) -> None:
        built = self.built
        for message in start.skipped:
            built.warn(f"passed over a damaged checkpoint: {message}")
        if start.checkpoint is not None:
            state = checkpoint.load(start.checkpoint)
            self._put_back(state, str(start.checkpoint))
            self.saving.step = self.progress.step
            self.display.stage(f"going on from {start.checkpoint}")
        environment = {
            **surroundings(built.engine.device),
            "processes": self.ranks.count,
            "engine": type(built.engine).__name__,
            "compute": str(built.engine.compute).removeprefix("torch."),
            "kernels": built.kernels,
        }
        self.log.write(
            Started(
                step=self.progress.step,
                steps=self.total,
                resumed_from=built.inside(start.checkpoint) if start.checkpoint else None,
                device=str(built.engine.device),
                environment=environment,
            )
        )
        for event in self.inputs.events if self.progress.step == 0 else ():
            self.log.write(event)

    def _put_back(self, state: checkpoint.Saved, place: str) -> None:
        built = self.built
        data = state.progress.pop("data", None)
        if data != self.inputs.store.key:
            raise CheckpointError(
                "was made with other training rows",
                place=place,
                remedy="put the rows back, or set output.dir to another folder",
            )
        for change in check_changes(state.progress.pop("recipe", None), self.recipe.tree(), place):
            built.warn(f"goes on with another {change}")
        if not state.optimizer:
            raise CheckpointError("holds no optimiser state", place=place, remedy="set checkpoint.resume: never")
        built.engine.restore(built.model, built.optimizer, state)
        built.progress = Progress(**state.progress)
        following.go_on(self.rate, built.progress)
        if built.scaler is not None and "scaler" in built.progress.extra:
            built.scaler.restore(built.progress.extra["scaler"])

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
        self.saving.collect()
        step, stop, improved = self.progress.step, False, False
        if evaluate:
            improved = self._evaluated_or_owed()
            stop = best.out_of_patience(self.progress, self.recipe.evaluate)
        if stop:
            self._reason = self.progress.extra["stopped"] = "early stopping"
        number, last = self.heed.said(), step == self.total
        asked = number if number != SAVE else None
        end = last and self.recipe.checkpoint.every != "never"
        due = self._checkpoint_due(step) or stop or end or (improved and self.recipe.evaluate.keep_best)
        tried = due or number is not None
        saved = tried and self.saving.save()
        if asked is None and self.ranks.count == 1:
            asked = self.asked.number
        if asked is not None and not last:
            saved = saved if tried else self.saving.save()
            raise Interrupted(asked, self.saving.collect(wait=True) if saved else False)
        return stop

    def _evaluated_or_owed(self) -> bool:
        """Measure the model; if that is interrupted, it is the first thing to do once the run goes on."""
        kept = random_tensors(self.built.engine.device)
        try:
            return self._evaluated()
        except Interrupted as stopped:
            restore_random(kept, self.built.engine.device)
            self.progress.extra[OWED] = True
            stopped.saved = self.saving.save() and self.saving.collect(wait=True)
            raise

    def _evaluated(self) -> bool:
        """Measure the model; returns whether it has never been better."""
        step, model = self.progress.step, self.built.model
        figures = {**self.measure.loss(model, step), **self.measure.answers_during(model, step)}
        following.tell(self.rate, figures, self.recipe.evaluate.best_metric, self.progress)
        return best.note(self.progress, figures, self.recipe.evaluate)

    def _end(self, begun: float) -> None:
        try:
            self._finish(begun)
        except Interrupted as stopped:
            stopped.saved = self.saving.collect(wait=True) or (self.saving.save() and self.saving.collect(wait=True))
            raise

    def _finish(self, begun: float) -> None:
        built = self.built
        self.saving.collect(wait=True)
        self.heed.stop()
        reason = str(self.progress.extra.get("stopped", self._reason))
        if self.inputs.evaluation is not None and not self._evaluation_due(self.progress.step):
            if self.recipe.evaluate.keep_best:
                self._evaluated()
            else:
                self.measure.loss(built.model, self.progress.step)
        # What comes may put the best weights in the place of the last, or bring them to another type: from here on a
        # state that is not saved yet could not be.
        self.heed.deaf = self.saving.step != self.progress.step
        choose_weights(built)
        with built.engine.whole(built.model) as here:
            built.ranks.after_first("saving the result", (lambda: write_result(built)) if here else (lambda: None))
        self.measure.answers(built.model, "after", self.progress.step)
        if self.ranks.first:
            self.measure.table()
        self.log.write(
            Finished(
                step=self.progress.step,
                reason=reason,
                seconds=time.monotonic() - begun,
                result=built.inside(built.folder.model),
            )
        )
        self.log.sync()
