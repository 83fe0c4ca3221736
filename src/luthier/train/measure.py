"""Measuring the model in the course of a run: loss on evaluation rows, answers to test rows."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from luthier.data.example import Example
from luthier.evaluate.generate import Answer, answer
from luthier.evaluate.loss import mean_loss
from luthier.methods.method import Method
from luthier.recipe import Recipe
from luthier.record.events import Answered, Evaluated, EventLog, read_events
from luthier.record.folder import RunFolder, write_whole
from luthier.train.display import Display
from luthier.train.engines.engine import Engine
from luthier.train.prepare import Inputs


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

    def loss(self, model: Any, step: int) -> float | None:
        """The mean evaluation loss, or None where there are no evaluation rows."""
        if self.inputs.evaluation is None:
            return None
        begun = time.monotonic()
        size = self.recipe.batch.evaluate or self.recipe.batch.micro
        capacity = size * (self.recipe.pack.length or self.recipe.data.max_length)
        loss, count = mean_loss(
            model,
            self.method,
            self.inputs.evaluation,
            self.inputs.evaluation_documents,
            capacity=capacity,
            device=self.engine.device,
            autocast=self.engine.autocast,
        )
        event = Evaluated(step=step, loss=loss, targets=count, seconds=time.monotonic() - begun)
        self.log.write(event)
        self.display.evaluated(event)
        return loss

    def answers(self, model: Any, when: str, step: int) -> None:
        """Answer the test rows, if the recipe asks for it, and keep every answer beside the run."""
        if self.recipe.evaluate.generate:
            self._answer(model, self.inputs.test, when, when, step)

    def answers_during(self, model: Any, step: int) -> None:
        """Answer the evaluation rows' questions, if the recipe asks for it."""
        self._answer(model, self.inputs.asked, f"at step {step} of", f"step-{step:08d}", step)

    def _answer(self, model: Any, examples: list[Example], when: str, name: str, step: int) -> None:
        settings, template = self.recipe.evaluate, self.inputs.template
        if not (examples and template):
            return
        begun = time.monotonic()
        with self.display.counting(f"answering {len(examples)} questions {when} training") as told:
            answers = answer(
                model,
                examples,
                template,
                self.inputs.encoder,
                settings.generation,
                autocast=self.engine.autocast,
                told=told,
            )
        rows = [_row(one, settings.metrics) for one in answers]
        self.folder.answers.mkdir(exist_ok=True)
        file = self.folder.answers / f"{name}.jsonl"
        write_whole(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        event = Answered(
            step=step,
            when=when,
            rows=len(rows),
            metrics={name: sum(row["scores"][name] for row in rows) / len(rows) for name in settings.metrics},
            file=str(file.relative_to(self.folder.root)),
            seconds=time.monotonic() - begun,
            sample=spread(rows, settings.table_rows),
        )
        self.log.write(event)
        self.display.answered(event)

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


def _row(one: Answer, metrics: tuple[str, ...]) -> dict[str, Any]:
    return {
        "origin": one.origin,
        **one.extra,
        "question": one.question,
        "reference": one.reference,
        "answer": one.answer,
        "scores": one.scores(metrics),
    }
