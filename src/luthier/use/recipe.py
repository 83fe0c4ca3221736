"""What a result is measured by: the recipe of its run, or for a model without one what its rows call for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from luthier.data.corpus import examples
from luthier.dialects import read, read_text
from luthier.dialects.document import to_yaml
from luthier.model.adapter_files import result_directory
from luthier.model.save import base_of
from luthier.recipe import Recipe
from luthier.recipe.evaluate import Generation
from luthier.record.folder import RunFolder
from luthier.registry import look_in

LONGEST = 2048
"""Tokens of a document where a model's config sets no limit."""

Tree = dict[str, object]


def run_of(path: Path) -> RunFolder | None:
    """The run whose folder this is; None where there is no run, but a model alone."""
    folder = RunFolder(path)
    return folder if folder.recipe.exists() else None


def recipe_of(path: Path, words: Sequence[str] = (), data: Sequence[str] = ()) -> Recipe:
    """The recipe to measure a result by: of a run's folder its own, of a model what suits ``data``, whose rows then
    stand for both evaluation and test rows; ``words`` win over all that.

    Raises:
        RecipeError: the recipe, or a word, is wrong.
        ModelError: there is neither a run nor a model.
        DataError: rows that cannot be read.
    """
    rows = [f"data.evaluate={_sources(data)}", f"data.test={_sources(data)}", "data.holdout=0", "evaluate.rows=null"]
    run = run_of(path)
    if run is not None:
        look_in(*_beside(run), Path.cwd())
        return read(run.recipe, [*(rows if data else ()), *words], "luthier").recipe
    look_in(Path.cwd())
    named: list[Tree] = [{"path": one} for one in data]
    directory = result_directory(path)
    tree: Tree = {
        "model": {"path": str(directory)},
        "data": {"train": named, "max_length": _positions(directory), "vanished": "drop"},
        "evaluate": {"generate": True},
    }
    told = [*rows, *words]
    recipe = read_text(to_yaml(tree), str(path), told, "luthier").recipe
    given = {word.partition("=")[0] for word in words}
    first = next(iter(examples(recipe, recipe.data.evaluate)), None)
    if first is not None and first.plain:
        told = [*told, *(() if "method.kind" in given else ("method.kind=pretrain",))]
        told = [*told, *(() if "data.overlong" in given else ("data.overlong=split",))]
        return read_text(to_yaml({**tree, "evaluate": {}}), str(path), told, "luthier").recipe
    return recipe


def generation_of(path: Path) -> Generation:
    """How a result's run generated its answers; for a model without a run as a recipe does that says nothing of it.

    Raises:
        RecipeError: the run's recipe cannot be read.
    """
    run = run_of(path)
    return read(run.recipe, (), "luthier").recipe.evaluate.generation if run is not None else Generation()


def _positions(directory: Path) -> int:
    """The longest document that a model has positions for; an adapter's model is the one it names."""
    named = ("max_position_embeddings", "n_positions", "seq_length")
    base = directory if (directory / "config.json").exists() else base_of(directory)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    return next((int(config[name]) for name in named if config.get(name)), LONGEST)


def _beside(run: RunFolder) -> list[Path]:
    """The folder of the file that a run was read from, where its author's own code may lie."""
    try:
        source = json.loads(run.accounts.read_text(encoding="utf-8")).get("source")
    except (OSError, ValueError, AttributeError):
        return []
    folder = Path(str(source)).parent
    return [folder] if source and folder.is_dir() else []


def _sources(paths: Sequence[str]) -> str:
    return json.dumps([{"path": path} for path in paths], ensure_ascii=False)
