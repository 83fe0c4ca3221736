"""What a person sees while a run goes on: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from luthier.plan.page import span
from luthier.plan.plan import Plan
from luthier.record.events import Answered, Chosen, Evaluated, Prepared, Saved, Stepped
from luthier.redaction import scrubbed

QUIET = 5.0
"""Seconds between lines where there is no terminal."""


@dataclass(slots=True)
class Display:
    """Tells what happens; every number comes from an event or the plan."""

    console: Console
    live: bool = True
    _progress: Progress | None = None
    _task: TaskID | None = None
    _steps: int = 0
    _begun: float = 0.0
    _first: int = 0
    _spoke: float = field(default=0.0)
    _waited: float = 0.0
    _stepping: float = 0.0

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(scrubbed(text), highlight=False, soft_wrap=True)

    def stage(self, text: str) -> None:
        """What is being done now."""
        self.say(f"[bold]{escape(text)}[/bold]")

    def warn(self, text: str) -> None:
        """Something the user should know."""
        self.say(f"[yellow]![/yellow] {escape(text)}")

    @contextmanager
    def counting(self, text: str) -> Iterator[Callable[[int], None]]:
        """A count of things whose number is not known before."""
        spoke = time.monotonic()

        def told(count: int) -> None:
            nonlocal spoke
            if time.monotonic() - spoke > QUIET:
                spoke = time.monotonic()
                self.say(f"  {escape(text)}: {count:,}")

        self.stage(text)
        yield told

    def prepared(self, event: Prepared) -> None:
        """Rows became tokens."""
        told = event.summary
        fates = ", ".join(f"{count:,} {fate}" for fate, count in told.get("fates", {}).items())
        source = "from the cache" if event.cached else f"in {event.seconds:.1f} s"
        self.say(
            f"  {event.documents:,} documents, {event.tokens:,} tokens ({event.targets:,} trained)"
            f" in {event.packs:,} packs {source} [dim]({escape(fates)})[/dim]"
        )
        for fate, count in told.get("lost_targets", {}).items():
            self.warn(f"{count:,} tokens to learn are lost with {told['fates'].get(fate, 0):,} {fate} rows")
        for note in told.get("notes", ()):
            self.warn(note)
        if told.get("quarantine"):
            self.warn(f"the rows that were set aside are in {told['quarantine']}")

    def plan(self, plan: Plan) -> None:
        """What will happen."""
        total, trainable = plan.parameters["total"], plan.parameters["trainable"]
        memory = sum(plan.memory.values()) / 2**20
        origin = (
            "at the speed measured here before"
            if plan.speed_is_measured
            else "a first guess; nothing has been measured here yet"
        )
        self.say(
            f"  {total / 1e6:.2f} M parameters, {trainable / 1e6:.2f} M trained; {plan.steps:,} steps,"
            f" {plan.steps_per_epoch:,} an epoch, on {plan.device} in {plan.compute}\n"
            f"  about {memory:,.0f} MB and {span(plan.time)} ({origin})"
        )
        for warning in plan.warnings:
            self.warn(warning)

    def begin(self, first: int, steps: int) -> None:
        """The loop starts at a step."""
        self._steps, self._first, self._begun = steps, first, time.monotonic()
        if self.live and self.console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self.console,
            )
            self._task = self._progress.add_task("training", total=steps, completed=first, figures="")
            self._progress.start()

    def stepped(self, event: Stepped) -> None:
        """A step is done."""
        self._waited += event.waited
        self._stepping += event.seconds
        more = "".join(f"  {name} {value:.3g}" for name, value in event.metrics.items() if "/" not in name)
        figures = (
            f"loss {event.loss:.4f}{more}  lr {event.lr:.2e}  {event.tokens / max(event.seconds, 1e-9):,.0f} tokens/s"
            f"  {span(self.remaining(event.step))} left"
        )
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=event.step, figures=figures)
        elif time.monotonic() - self._spoke > QUIET or event.step == self._steps:
            self._spoke = time.monotonic()
            self.say(f"  step {event.step:,}/{self._steps:,}  epoch {event.epoch:.2f}  {figures}")

    def remaining(self, step: int) -> float:
        """Seconds left, at the pace of this process so far, evaluations and saves included."""
        return (time.monotonic() - self._begun) / max(1, step - self._first) * (self._steps - step)

    def evaluated(self, event: Evaluated, unit: str) -> None:
        """An evaluation is done, over so many ``unit``."""
        more = "".join(f", {name} {value:.4g}" for name, value in event.metrics.items())
        figures = f"loss {event.loss:.4f}{more} over {event.targets:,} {unit} ({event.seconds:.1f} s)"
        self.say(f"  [cyan]evaluation[/cyan] at step {event.step:,}: {figures}")

    def chosen(self, event: Chosen) -> None:
        """The result has the weights of an earlier step."""
        figure = f"{event.metric} {event.value:.4g}"
        self.stage(f"the result has the weights of step {event.best_step}, whose {figure} was the best")

    def saved(self, event: Saved) -> None:
        """A checkpoint or the result is on disk."""
        if not (self.live and self.console.is_terminal):
            self.say(f"  [dim]saved {escape(event.path)} ({event.bytes / 2**20:.1f} MB, {event.seconds:.1f} s)[/dim]")

    def answered(self, event: Answered) -> None:
        """Questions were answered."""
        figures = ", ".join(f"{name} {_figure(name, value)}" for name, value in event.metrics.items())
        self.say(f"  [cyan]answers {event.when} training[/cyan]: {figures} of {event.rows} ({event.seconds:.1f} s)")

    def end(self) -> None:
        """The loop is over, however it ended."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        if self._stepping:
            self.say(f"  [dim]steps waited for data {self._waited / self._stepping:.2%} of their time[/dim]")
            self._waited = self._stepping = 0.0

    def before_and_after(self, before: Answered | None, after: Answered) -> None:
        """The table of answers."""
        table = Table(title="Held-out questions", show_lines=True)
        for column in ("question", "reference", "before", "after"):
            table.add_column(column, overflow="fold")
        earlier = {row["origin"]: row["answer"] for row in before.sample} if before else {}
        for row in after.sample:
            right = row["answer"].strip() == row["reference"].strip()
            table.add_row(
                escape(row["question"]),
                escape(row["reference"]),
                escape(earlier.get(row["origin"], "-")[:120]),
                f"[{'green' if right else 'red'}]{escape(row['answer'])}[/]",
            )
        self.console.print(table)
        for name, value in after.metrics.items():
            was = _figure(name, before.metrics.get(name, 0.0)) if before else "-"
            self.say(f"  [bold]{name}: {was} before, {_figure(name, value)} after[/bold] (of {after.rows})")


def _figure(name: str, value: float) -> str:
    """A metric as people read it: a share in per cent; what is in per cent already, or anything else, as it is."""
    return f"{value:.1%}" if name == "exact_match" else f"{value:.2f}"
