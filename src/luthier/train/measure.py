"""Measuring the model in the course of a run: loss on evaluation rows, answers to test rows."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from luthier.data.example import Example
from luthier.evaluate.measure import answered, cast_weights, measured
from luthier.methods.method import Method
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
                through=self.engine.loss,
            )
        seconds = time.monotonic() - begun
        event = Evaluated(step=step, loss=found.loss, targets=found.count, seconds=seconds, metrics=found.metrics)
        self.log.write(event)
        self.display.evaluated(event)
        return {"loss": found.loss, **found.metrics}

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
        with asking as told, self._cast(model), ranks.guarded():
            answers = answered(
                model,
                examples,
                template,
                self.inputs.encoder,
                self.recipe,
                step=step,
                autocast=self.engine.autocast,
                largest=self.inputs.plan.largest_batch,
                told=told,
                among=ranks,
                exchanges=self.engine.exchanges,
            )
        file = self.folder.answers / f"{name}.jsonl"
        if self.engine.ranks.first:
            answers.write(file)
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
