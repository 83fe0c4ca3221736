"""The directories that a run starts from: its model's and its tokenizer's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from luthier.data.cache import content_key, entry, keep
from luthier.data.pipeline import texts
from luthier.data.source import files_of
from luthier.errors import ModelError
from luthier.model.tokenizer import convert_tokenizer, local_directory, train_tokenizer
from luthier.recipe import Recipe

Told = Callable[[str], None]


def model_directory(recipe: Recipe) -> Path | None:
    """Where the weights lie; None for a model from scratch.

    Raises:
        ModelError: it is neither here nor on the hub.
    """
    if recipe.model.path is None:
        return None
    return local_directory(recipe.model.path, recipe.model.revision)


def tokenizer_directory(recipe: Recipe, told: Told = lambda _: None) -> Path:
    """Where the tokenizer lies; it is trained, or converted, when it has to be and is not in the cache yet.

    Raises:
        ModelError: there is no tokenizer to be had.
    """
    path = trained_tokenizer(recipe)
    if path is not None:
        spec = recipe.tokenizer.train
        assert spec is not None
        if not (path / "tokenizer.json").exists():
            told(f"training a tokenizer of {spec.vocabulary:,} tokens")
            keep(path, lambda aside: train_tokenizer(texts(recipe, recipe.data.train), spec, aside))
        return path
    named = recipe.tokenizer.path or recipe.model.path
    if named is None:
        raise ModelError("no tokenizer is named", place="tokenizer", remedy="set tokenizer.path or tokenizer.train")
    directory = local_directory(named, None if recipe.tokenizer.path else recipe.model.revision)
    if (directory / "tokenizer.json").exists():
        return directory
    own = [path for path in sorted(directory.glob("*token*")) if path.is_file()]
    place = entry(recipe.data.cache, "tokenizers", content_key(own, [], {}))
    if not place.is_dir():
        keep(place, lambda aside: convert_tokenizer(directory, aside))
    return place


def trained_tokenizer(recipe: Recipe) -> Path | None:
    """Where a tokenizer that the recipe trains lies in the cache, there or not; None when it trains none."""
    spec = recipe.tokenizer.train
    if spec is None:
        return None
    files = [path for source in recipe.data.train for path in files_of(source)]
    settings = {
        "spec": spec.model_dump(mode="json"),
        "sources": [source.model_dump(mode="json") for source in recipe.data.train],
    }
    return entry(recipe.data.cache, "tokenizers", content_key(files, [], settings))
