"""``luthier inspect``: what a model is made of, and what of it a recipe trains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luthier.cli.arguments import Data, Dialect, Json, Model, Words, print_json
from luthier.cli.given import reading_of

if TYPE_CHECKING:
    from luthier.model.inspect import Structure


def command(
    context: typer.Context,
    what: Annotated[Path, typer.Argument(help="A model directory, a run's folder, or a recipe.", metavar="MODEL|RUN")],
    words: Words = None,
    every: Annotated[bool, typer.Option("--all", help="One line a parameter; like layers are folded else.")] = False,
    as_json: Json = False,
    dialect: Dialect = None,
    model: Model = None,
    data: Data = None,
) -> None:
    """Show every parameter's shape, type, quantisation and whether it trains; no weight is loaded."""
    from luthier.model.adapter_files import place_of_result
    from luthier.model.inspect import inspect_directory, inspect_recipe

    recipe_file = what / "recipe.yaml" if (what / "recipe.yaml").exists() else what
    if recipe_file.is_dir():
        structures: tuple[Structure, ...] = (inspect_directory(place_of_result(recipe_file)),)
    else:
        from luthier.data.encoder import Encoder
        from luthier.model.new_tokens import changes_tokens, new_ids
        from luthier.plan.inputs import model_directory, plain_tokenizer_directory, tokenizer_directory
        from luthier.plan.instead import substituted
        from luthier.plan.plan import shape_of

        recipe = reading_of(context, recipe_file, words, dialect=dialect, model=model, data=data).recipe
        recipe, _ = substituted(recipe)
        directory = model_directory(recipe)
        vocabulary = shape_of(recipe, directory).vocabulary
        added: tuple[int, ...] = ()
        if changes_tokens(recipe.tokenizer):
            changed = tokenizer_directory(recipe)
            vocabulary, added = Encoder.open(changed).vocabulary, new_ids(plain_tokenizer_directory(recipe), changed)
        structures = inspect_recipe(recipe, directory, vocabulary, added)
    if as_json:
        print_json([one.tree() for one in structures])
        return
    for one in structures:
        _print(one, every)
    _print_kernels(_planned_kernels(what))


def _planned_kernels(folder: Path) -> dict[str, str]:
    """The kernels that a run was planned with; none where there is no plan."""
    plan = folder / "plan.json"
    tree = json.loads(plan.read_text(encoding="utf-8")) if plan.is_file() else {}
    return dict(tree.get("kernels", {}))


def _print_kernels(kernels: dict[str, str]) -> None:
    from rich.console import Console
    from rich.markup import escape

    from luthier.terminal import visible

    for name, kernel in kernels.items():
        Console(highlight=False).print(f"[bold]{escape(visible(name))}[/bold]: {escape(visible(kernel))}")


def _print(structure: Structure, every: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from luthier.terminal import visible

    console = Console(highlight=False)
    table = Table(title=escape(visible(f"{structure.title}: {structure.architecture}")), title_justify="left", box=None)
    for column in ("parameter", "shape", "type", "trains", "tensors"):
        table.add_column(column, overflow="fold", justify="right" if column == "tensors" else "left")
    rows = [(one, 1) for one in structure.parameters] if every else structure.folded()
    for one, tensors in rows:
        kind = f"{one.quantised}, {one.dtype}" if one.quantised else one.dtype
        shape = " x ".join(map(str, one.shape))
        table.add_row(escape(visible(one.name)), shape, kind, "yes" if one.trains else "", str(tensors))
    console.print(table)
    totals = Table(box=None)
    for column in ("part", "tensors", "parameters", "trained", "MB"):
        totals.add_column(column, justify="left" if column == "part" else "right")
    for part, sums in structure.totals().items():
        numbers = (f"{sums[name]:,}" for name in ("tensors", "parameters", "trained"))
        totals.add_row(part, *numbers, f"{sums['bytes'] / 2**20:,.1f}")
    console.print(totals)
