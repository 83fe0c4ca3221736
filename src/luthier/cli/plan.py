"""``luthier plan``: what a run will be and cost, before a weight is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from luthier.cli.arguments import Data, Dialect, File, Json, Model, Strict, Words, print_json
from luthier.cli.given import reading_of, with_refusals
from luthier.environment import processes
from luthier.errors import RunError
from luthier.recipe import Recipe
from luthier.terminal import visible_lines


def command(
    context: typer.Context,
    file: File = None,
    words: Words = None,
    as_json: Json = False,
    dialect: Dialect = None,
    model: Model = None,
    data: Data = None,
    strict: Strict = False,
    devices: Annotated[
        str | None,
        typer.Option(
            help="Plan for devices that are not here: 8xH100, or 2xmemory=48,flops=180,bandwidth=900,link=32.",
            metavar="NxNAME",
        ),
    ] = None,
    nodes: Annotated[int, typer.Option(help="Machines that each hold those devices.", min=1)] = 1,
) -> None:
    """Show steps, tokens, memory and time of a run before anything is loaded."""
    from luthier.plan.engine import engine_told
    from luthier.plan.fleet import fleet_plan
    from luthier.plan.hardware import fleet_of
    from luthier.plan.plan import facts_of, plan_of
    from luthier.plan.verdict import verdict

    fleet = fleet_of(devices, nodes) if devices else None
    if nodes > 1 and fleet is None:
        raise RunError("--nodes needs to know what each machine holds", place="--nodes", remedy="add --devices 8xH100")
    reading = reading_of(context, file, words, dialect=dialect, model=model, data=data, strict=strict)
    found = verdict(reading)
    with with_refusals(found.refused):
        facts = facts_of(found.recipe)
    plan = plan_of(facts)
    paper = (
        fleet_plan(_as_written(facts.recipe, reading.recipe), fleet, plan, facts.shape, facts.volume) if fleet else None
    )
    plan = replace(plan, warnings=(*found.instead, *plan.warnings))
    engine = engine_told(reading.recipe, processes())
    if as_json:
        tree: dict[str, Any] = {**plan.tree(), **engine, "refused": [str(fault) for fault in found.refused]}
        print_json({**tree, "fleet": paper.tree()} if paper else tree)
    else:
        from rich.console import Console
        from rich.markup import escape

        from luthier.plan.fleet_page import describe_fleet
        from luthier.plan.page import describe

        console = Console(highlight=False)
        console.print(describe(plan, found.recipe, engine))
        if paper:
            console.print(describe_fleet(paper))
        for fault in found.refused:
            console.print(f"[red]refused[/red] {escape(visible_lines(str(fault)))}")
    if found.refused:
        raise typer.Exit(2)


def _as_written(here: Recipe, written: Recipe) -> Recipe:
    """The recipe with the batch and the precision that its file asks for, which this machine may have exchanged."""
    return here.model_copy(update={name: getattr(written, name) for name in ("batch", "precision", "parallel")})
