"""``luthier evaluate``: the loss and the answers of a model on some rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luthier.cli.arguments import Json, Words, print_json, shorten
from luthier.cli.generation import MaxNewTokens, Result
from luthier.cli.imports import staying
from luthier.errors import RunError
from luthier.terminal import visible_lines

if TYPE_CHECKING:
    from luthier.use.measure import Evaluation

SHOWN = 10
"""Answers that are printed."""

COUNTS = ("tokens", "rows")
"""Figures that say over how much the others are."""


def command(
    model: Result,
    words: Words = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="Rows: a file, a folder or a hub dataset; may be given several times. Without it, the run's own.",
        ),
    ] = None,
    answers: Annotated[
        bool, typer.Option("--generate/--no-generate", help="Also answer the rows by generation.")
    ] = True,
    before: Annotated[bool, typer.Option("--before", help="Measure the model that it was trained from, too.")] = False,
    template: Annotated[
        str | None, typer.Option(help="Chat template; otherwise the run's, or the model's own.")
    ] = None,
    max_new_tokens: MaxNewTokens = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Run these benchmarks of lm-evaluation-harness instead, divided by commas.", metavar="TASKS"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say only the figures.")] = False,
    as_json: Json = False,
) -> None:
    """Measure a model on rows as its run did: loss, perplexity, and its answers by the run's metrics and settings."""
    if tasks is not None:
        _benchmarks(model, [one.strip() for one in tasks.split(",") if one.strip()], data, words, as_json)
        return
    from rich.console import Console

    with staying():
        from luthier.train.display import Display
        from luthier.use.measure import evaluate, keep
        from luthier.use.recipe import run_of

    asked = [f"data.template={json.dumps(template)}"] if template is not None else []
    asked += [f"evaluate.generation.max_new_tokens={max_new_tokens}"] if max_new_tokens is not None else []
    display = Display(Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True), live=False)
    found, base = evaluate(model, data or [], [*asked, *(words or ())], display, generate=answers, before=before)
    run = run_of(model)
    if run is not None:
        for one, when in ((base, "before"), (found, "after")):
            file = keep(run, data or [], one, when) if one is not None else None
            if file is not None:
                display.say(f"  [dim]every answer is in {visible_lines(str(file))}[/dim]")
    for failure in (*found.failures, *(base.failures if base else ())):
        display.warn(f"{failure} ({', '.join(failure.rows[:5])})")
    if as_json:
        more = {"before": {"figures": base.figures, "answers": base.answers}} if base else {}
        print_json({"figures": found.figures, "answers": found.answers, **more})
        return
    _print(found, base)


def _benchmarks(model: Path, tasks: list[str], data: list[str] | None, words: list[str] | None, as_json: bool) -> None:
    from luthier.use.harness import benchmarks
    from luthier.use.recipe import run_of

    if data or words or not tasks:
        reason = "benchmarks bring their own rows and settings" if tasks else "no benchmark is named"
        raise RunError(reason, place="--tasks", remedy="give a run or a model and --tasks NAME,NAME alone")
    run = run_of(model)
    out = (run.root if run is not None else Path()) / "lm_eval"
    results = benchmarks(model, tasks, out)
    if run is not None:
        run.note_evaluation({"tasks": tasks, "figures": results, "answers": None})
    if as_json:
        print_json({"results": results, "files": str(out)})
        return
    for task, figures in results.items():
        for name, value in figures.items():
            if isinstance(value, int | float):
                typer.echo(visible_lines(f"{task} {name.removesuffix(',none')}: {value:.4f}"))
    typer.echo(f"the harness's own files are in {out}")


def _print(found: Evaluation, base: Evaluation | None) -> None:
    for number, row in enumerate(found.answers[:SHOWN]):
        earlier = f"{shorten(base.answers[number]['answer'])} => " if base else ""
        line = f"{_mark(row)}{shorten(row['question'])} -> {earlier}{shorten(row['answer'])}"
        typer.echo(visible_lines(line))
    for name, value in found.figures.items():
        was = f" (before {base.figures[name]:.4f})" if base and name in base.figures else ""
        typer.echo(f"{name}: {value:,.0f}" if name in COUNTS else f"{name}: {value:.4f}{was}")


def _mark(row: dict[str, Any]) -> str:
    score = row["scores"].get("exact_match")
    return "" if score is None else ("right  " if score else "wrong  ")
