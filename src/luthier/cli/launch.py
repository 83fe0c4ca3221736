"""``luthier launch --slurm``: the batch script that trains a recipe in a Slurm allocation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.arguments import File, Words
from luthier.cli.given import reading_of
from luthier.errors import RecipeError
from luthier.train.slurm import Job, script


def command(
    context: typer.Context,
    file: File = None,
    words: Words = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="Write a batch script for sbatch.")] = False,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Processes on each machine (one a GPU).")] = 1,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines.")] = 1,
    gpus: Annotated[int | None, typer.Option("--gpus", min=0, help="GPUs on each machine; else as processes.")] = None,
    cpus: Annotated[int | None, typer.Option("--cpus", min=1, help="Cores for each process.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="The longest it may take, as Slurm writes it.")] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="The partition.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Who pays.")] = None,
    grace: Annotated[int, typer.Option("--grace", min=0, help="Seconds before the end at which to save.")] = 300,
    out: Annotated[Path | None, typer.Option("--out", help="Write it here; else it is printed.")] = None,
) -> None:
    """Write the batch script of a run; nothing is submitted."""
    if not slurm:
        raise RecipeError(
            "launch writes scripts for Slurm alone",
            place="the command line",
            remedy="add --slurm; on machines of your own give luthier train FILE --processes N --nodes M on each",
        )
    reading_of(context, file, words)
    pasted = ["--", *context.obj] if context.obj else []
    given = [*([str(file)] if file else []), *(words or ()), *pasted]
    text = script(
        given,
        Job(
            processes=processes,
            nodes=nodes,
            gpus=processes if gpus is None else gpus,
            cpus=cpus,
            time=time,
            partition=partition,
            account=account,
            grace=grace,
        ),
    )
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8")
    typer.echo(f"{out}: give it to sbatch")
