"""``luthier evaluate``: the loss and the answers of a model on some rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.arguments import Json, print_json, shorten


def command(
    model: Annotated[Path, typer.Argument(help="A run's folder, or a model directory.", metavar="RUN|MODEL")],
    data: Annotated[
        list[str], typer.Option("--data", help="Rows: a file, a folder or a hub dataset; may be given several times.")
    ],
    answers: Annotated[
        bool, typer.Option("--generate/--no-generate", help="Also answer the rows by generation.")
    ] = True,
    template: Annotated[str, typer.Option(help="Chat template; auto is the model's own.")] = "auto",
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 128,
    as_json: Json = False,
) -> None:
    """Measure a model on rows: mean loss and perplexity, and exact answers where rows are conversations."""
    from luthier.evaluate.use import measure, open_result

    figures, rows = measure(
        open_result(model), data, template=template, generate=answers, max_new_tokens=max_new_tokens
    )
    if as_json:
        print_json({"figures": figures, "answers": rows})
        return
    for row in rows[:10]:
        verdict = "right" if row["scores"]["exact_match"] else "wrong"
        typer.echo(f"{verdict}  {shorten(row['question'])} -> {shorten(row['answer'])}")
    for name, value in figures.items():
        typer.echo(f"{name}: {value:.4f}")
