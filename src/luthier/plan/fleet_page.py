"""A plan on paper, for devices that are not here, as a table for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from luthier.plan.fleet import REACHED, FleetPlan, Option
from luthier.plan.page import gigabytes, span


def describe_fleet(plan: FleetPlan) -> RenderableType:
    """One row an engine: whether it fits, what a step takes and waits for, and the whole run."""
    head = (
        f"{plan.fleet}, {gigabytes(plan.memory)} each, in {plan.compute}: {plan.steps:,} steps of {plan.batch:,} packs "
        f"({plan.micros} micro-batches a device); a checkpoint is {gigabytes(plan.checkpoint)}"
    )
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in ("engine", "device", "host", "fits", "step", "bound", "run"):
        table.add_column(name, no_wrap=True)
    for option in plan.options:
        table.add_row(*map(escape, _row(option)), style="bold" if option is plan.best else "" if option.fits else "dim")
    best = plan.best
    told = (
        f"fastest that fits: {best.engine}" if best else "nothing fits: more devices, QLoRA, or shorter rows are needed"
    )
    assumed = f"operations at {REACHED:.0%} of the data sheet's, everything overlapping: estimates, not measured"
    warnings = (f"[yellow]![/yellow] {escape(one)}" for one in plan.warnings)
    return Group("", escape(head), table, f"{told} ({assumed})", *warnings)


def _row(option: Option) -> tuple[str, ...]:
    return (
        option.engine,
        gigabytes(sum(option.memory.values())),
        gigabytes(option.host_memory) if option.host_memory else "",
        "yes" if option.fits else "no",
        _short(option.step),
        option.bound,
        span(option.total),
    )


def _short(seconds: float) -> str:
    """
    >>> _short(0.0123), _short(2.5), _short(75)
    ('12 ms', '2.5 s', '1 min 15 s')
    """
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 60 else span(seconds)
