"""``luthier train``: carry a recipe out, in one process or several."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from luthier.cli.arguments import Data, Dialect, File, Model, Strict, Words, complain
from luthier.cli.given import reading_of
from luthier.cli.imports import staying
from luthier.environment import world
from luthier.errors import Fault, LuthierError, RunError
from luthier.train.launch import LAST_WORD, Machines, launch

Processes = Annotated[int, typer.Option("--processes", min=1, help="Processes on this machine (one a GPU).")]
Nodes = Annotated[int, typer.Option("--nodes", min=1, help="Machines that share the run; give the command on each.")]
NodeRank = Annotated[int, typer.Option("--node-rank", min=0, help="Which of the machines this is, from 0.")]
Rendezvous = Annotated[
    str, typer.Option("--rendezvous", help="Where machines meet: an address of the first one.", metavar="HOST:PORT")
]


def command(
    context: typer.Context,
    file: File = None,
    words: Words = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say only what went wrong.")] = False,
    dialect: Dialect = None,
    model: Model = None,
    data: Data = None,
    strict: Strict = False,
    processes: Processes = 1,
    nodes: Nodes = 1,
    node_rank: NodeRank = 0,
    rendezvous: Rendezvous = "",
) -> None:
    """Train; the same command goes on where an interrupted run left off."""
    place, asked = world(), processes * nodes
    try:
        reading = reading_of(context, file, words, dialect=dialect, model=model, data=data, strict=strict)
        if asked > 1 and place.size == 1:
            raise typer.Exit(_start(Machines(processes, nodes, node_rank, rendezvous)))
        if asked not in (1, place.size):
            reason = f"a launcher has started {place.size} processes, and the command asks for {asked}"
            raise RunError(reason, place="--processes", remedy="leave it out under another launcher")
    except LuthierError:
        if place.rank == 0:
            raise
        time.sleep(LAST_WORD)
        raise typer.Exit(2) from None
    from rich.console import Console
    from rich.markup import escape

    console = Console(quiet=quiet or place.rank > 0, highlight=False, soft_wrap=True)
    kind, folder = reading.recipe.method.kind, reading.recipe.output.dir
    console.print(f"[bold]luthier train {escape(reading.source)}[/bold]: {kind} into {escape(folder)}")

    with staying():
        from luthier.train.display import Display
        from luthier.train.interrupt import Interrupted
        from luthier.train.run import run

    try:
        done = run(reading, Display(console, live=reading.recipe.runtime.progress))
    except Interrupted as stopped:
        sys.stderr.write(f"luthier: {stopped}; {_way_on(stopped.saved)}\n")
        raise typer.Exit(stopped.code) from None
    if place.rank > 0:
        return
    from luthier.report import write_report

    page = write_report(done)
    console.print(f"[bold]the result[/bold]   {done.model}\n[bold]the report[/bold]   {page}")
    console.print(f"[bold]try it[/bold]       luthier generate {done.root} --prompt '…'")


def _way_on(saved: bool) -> str:
    if saved:
        return "the same command goes on from the checkpoint just saved"
    return "nothing new was saved: the same command goes on from the last whole checkpoint, or begins anew without one"


def _start(machines: Machines) -> int:
    """Start the same command in every process of this machine; its exit code."""
    return launch(sys.argv[1:], machines, lambda told: complain(Fault(told)))
