"""The plan as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from luthier.plan.plan import Plan
from luthier.recipe import Recipe


def describe(plan: Plan, recipe: Recipe, engine: Mapping[str, str] = MappingProxyType({})) -> RenderableType:
    """Everything a person wants to know before saying yes; ``engine`` is what there is to say of it, by name."""
    about = "" if plan.exact else "about "
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows = (
        ("model", recipe.model.path or "from scratch"),
        ("parameters", f"{plan.parameters['total']:,}, {plan.parameters['trainable']:,} of them trained"),
        ("device", f"{plan.device}, computing in {plan.compute}"),
        *engine.items(),
        ("documents", f"{about}{plan.documents:,} with {plan.tokens:,} tokens, {plan.targets:,} of them trained"),
        (
            "packs",
            f"{about}{plan.packs:,} ({plan.efficiency:.1%} full; no packing needs fewer than {plan.fewest_packs:,})",
        ),
        ("steps", f"{about}{plan.steps:,}: {plan.epochs:.2f} epochs of {plan.steps_per_epoch:,}"),
        (
            "memory",
            f"about {gigabytes(sum(plan.memory.values()))}: "
            + ", ".join(f"{k} {gigabytes(v)}" for k, v in plan.memory.items()),
        ),
        ("disk", ", ".join(f"{name} {gigabytes(size)}" for name, size in plan.disk.items())),
        ("compute", f"{plan.operations:.2e} operations"),
        ("kernels", "\n".join(f"{name}: {kernel}" for name, kernel in plan.kernels.items())),
        (
            "time",
            f"about {span(plan.time)} "
            + ("(at the speed measured here)" if plan.speed_is_measured else "(nothing measured here yet)"),
        ),
    )
    for name, value in rows:
        table.add_row(f"[bold]{name}[/bold]", escape(value))
    return Group(table, *(f"[yellow]![/yellow] {escape(warning)}" for warning in plan.warnings))


def gigabytes(size: int) -> str:
    """Bytes as people read them.

    >>> gigabytes(3 * 2**30), gigabytes(5 * 2**20)
    ('3.00 GB', '5.0 MB')
    """
    return f"{size / 2**30:.2f} GB" if size >= 2**29 else f"{size / 2**20:.1f} MB"


def span(seconds: float) -> str:
    """A time as people say it.

    >>> span(3.2), span(75), span(7300)
    ('3 s', '1 min 15 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
