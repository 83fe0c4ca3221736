"""Measuring the model in the course of a run: loss on evaluation rows, answers to test rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.data.batch import Batch
from luthier.data.example import Example
from luthier.evaluate.measure import Answers, answered, cast_weights, counted_in, measured
from luthier.methods.method import Loss, Method
from luthier.recipe import Recipe
from luthier.record.events import Answered, Evaluated, EventLog, Warned, read_events
from luthier.record.folder import RunFolder
from luthier.train.display import Display
from luthier.train.engines.engine import Engine
from luthier.train.prepare import Inputs

MOST_NAMED = 5
"""Rows that a warning names."""


@dataclass(frozen=True, slots=True)
class Measure:
    """Measures and records."""

    recipe: Recipe
    folder: RunFolder
    inputs: Inputs
    display: Display
    log: EventLog
    engine: Engine
    method: Method
    heed: Callable[[], None] = lambda: None
    """Is called between batches, of evaluation and of answers; it may raise."""

    def loss(self, model: Any, step: int) -> dict[str, float]:
        """The mean evaluation loss by its name, or nothing where there are no evaluation rows."""
        if self.inputs.evaluation is None:
            return {}
        begun = time.monotonic()
        ranks = self.engine.ranks
        ranks.reach(f"the evaluation at step {step}")
        with self._cast(model):
            found = measured(
                model,
                self.method,
                self.inputs.evaluation,
                self.inputs.evaluation_documents,
                self.recipe,
                device=self.engine.device,
                autocast=self.engine.autocast,
                largest=self.inputs.plan.largest_batch,
                among=ranks,
                through=self._heeding,
            )
        seconds = time.monotonic() - begun
        event = Evaluated(step=step, loss=found.loss, targets=found.count, seconds=seconds, metrics=found.metrics)
        self.log.write(event)
        self.display.evaluated(event, counted_in(self.recipe))
        return {"loss": found.loss, **found.metrics}

    def _heeding(self, method: Method, model: Any, batch: Batch) -> Loss:
        """A batch's loss, unless the run is to stop."""
        self.heed()
        return self.engine.loss(method, model, batch)

    def answers(self, model: Any, when: str, step: int) -> None:
        """Answer the test rows, if the recipe asks for it, and keep every answer beside the run."""
        if self.recipe.evaluate.generate:
            self._answer(model, self.inputs.test, when, when, step)

    def answers_during(self, model: Any, step: int) -> dict[str, float]:
        """Answer the evaluation rows' questions, if the recipe asks for it; their metrics by name."""
        return self._answer(model, self.inputs.asked, f"at step {step} of", f"step-{step:08d}", step, "evaluation")

    def _cast(self, model: Any) -> Any:
        """What to measure in: weights in the compute type, where the recipe asks for it."""
        full = self.recipe.precision.full_evaluation
        return cast_weights(model, self.engine.compute) if full else nullcontext()

    def _answer(
        self, model: Any, examples: list[Example], when: str, name: str, step: int, rows_of: str = "test"
    ) -> dict[str, float]:
        template = self.inputs.template
        if not (examples and template):
            return {}
        begun = time.monotonic()
        ranks = self.engine.ranks
        ranks.reach(f"the answers {when} training")
        asking = self.display.counting(f"answering {len(examples)} questions {when} training")
        self.heed()
        with asking as told, self._cast(model), ranks.guarded():

            def counted(count: int) -> None:
                told(count)
                # Several processes may answer different numbers of questions, so that they cannot agree here.
                if ranks.count == 1:
                    self.heed()

            answers = answered(
                model,
                examples,
                template,
                self.inputs.encoder,
                self.recipe,
                step=step,
                autocast=self.engine.autocast,
                largest=self.inputs.plan.largest_batch,
                told=counted,
                among=ranks,
                exchanges=self.engine.exchanges,
            )
        file = self.folder.answers / f"{name}.jsonl"
        if self.engine.ranks.first:
            self._write(answers, file, step)
        for failure in answers.failures:
            self.log.write(Warned(step=step, message=str(failure), rows=failure.rows[:MOST_NAMED]))
            self.display.warn(f"{failure} ({', '.join(failure.rows[:MOST_NAMED])})")
        event = Answered(
            step=step,
            when=when,
            rows=len(answers.rows),
            metrics=answers.metrics,
            file=str(file.relative_to(self.folder.root)),
            seconds=time.monotonic() - begun,
            rows_of=rows_of,
            sample=spread(answers.rows, self.recipe.evaluate.table_rows),
        )
        self.log.write(event)
        self.display.answered(event)
        return ranks.told(event.metrics)

    def _write(self, answers: Answers, file: Path, step: int) -> None:
        """Keep the answers; a disk that does not take them ends no run."""
        try:
            answers.write(file)
        except OSError as error:
            told = f"{file}: the answers could not be written ({error.strerror}); their scores are in the run's events"
            self.log.write(Warned(step=step, message=told))
            self.display.warn(told)

    def table(self) -> None:
        """Show the answers before and after, as the events tell them."""
        answered = [event for event in read_events(self.folder.events) if isinstance(event, Answered)]
        by_time = {event.when: event for event in answered}
        if "after" in by_time:
            self.display.before_and_after(by_time.get("before"), by_time["after"])


def spread(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """``count`` rows, evenly spread over all."""
    if not count:
        return []
    step = max(1, len(rows) // count)
    return rows[::step][:count]
