"""Measuring the model in the course of a run: loss on evaluation rows, answers to test rows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

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

    def loss(self, model: Any, step: int) -> dict[str, float]:
        """The mean evaluation loss by its name, or nothing where there are no evaluation rows."""
        if self.inputs.evaluation is None:
            return {}
        begun = time.monotonic()
        ranks = self.engine.ranks
        ranks.reach(f"the evaluation at step {step}")
        size = self.recipe.batch.evaluate or self.recipe.batch.micro
        capacity = size * (self.recipe.pack.length or self.recipe.data.max_length)
        with self._cast(model):
            loss, count, metrics = mean_loss(
                model,
                self.method,
                self.inputs.evaluation,
                self.inputs.evaluation_documents,
                capacity=capacity,
                device=self.engine.device,
                autocast=self.engine.autocast,
                among=ranks,
                through=self.engine.loss,
            )
        seconds = time.monotonic() - begun
        event = Evaluated(step=step, loss=loss, targets=count, seconds=seconds, metrics=metrics)
        self.log.write(event)
        self.display.evaluated(event)
        return {"loss": loss, **metrics}

    def answers(self, model: Any, when: str, step: int) -> None:
        """Answer the test rows, if the recipe asks for it, and keep every answer beside the run."""
        if self.recipe.evaluate.generate:
            self._answer(model, self.inputs.test, when, when, step)

    def answers_during(self, model: Any, step: int) -> dict[str, float]:
        """Answer the evaluation rows' questions, if the recipe asks for it; their metrics by name."""
        return self._answer(model, self.inputs.asked, f"at step {step} of", f"step-{step:08d}", step)

    def _cast(self, model: Any) -> Any:
        """What to measure in: weights in the compute type, where the recipe asks for it."""
        full = self.recipe.precision.full_evaluation
        return cast_weights(model, self.engine.compute) if full else nullcontext()

    def _answer(self, model: Any, examples: list[Example], when: str, name: str, step: int) -> dict[str, float]:
        settings, template = self.recipe.evaluate, self.inputs.template
        if not (examples and template):
            return {}
        begun = time.monotonic()
        asking = self.display.counting(f"answering {len(examples)} questions {when} training")
        with asking as told, self._cast(model):
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
        file = self.folder.answers / f"{name}.jsonl"
        if self.engine.ranks.first:
            self.folder.answers.mkdir(exist_ok=True)
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
        return event.metrics

    def table(self) -> None:
        """Show the answers before and after, as the events tell them."""
        answered = [event for event in read_events(self.folder.events) if isinstance(event, Answered)]
        by_time = {event.when: event for event in answered}
        if "after" in by_time:
            self.display.before_and_after(by_time.get("before"), by_time["after"])


@contextmanager
def cast_weights(model: torch.nn.Module, kind: torch.dtype) -> Iterator[None]:
    """Hold a model's fp32 weights in another type while the context lasts; they come back bit for bit."""
    kept = {one: one.data for one in model.parameters() if one.dtype is torch.float32 and kind is not torch.float32}
    try:
        for parameter, data in kept.items():
            parameter.data = data.to(kind)
        yield
    finally:
        for parameter, data in kept.items():
            parameter.data = data


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
