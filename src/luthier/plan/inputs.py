"""The directories that a run starts from: its model's and its tokenizer's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from luthier.data.cache import alone, content_key, entry, keep
from luthier.data.corpus import texts
from luthier.data.source import files_of
from luthier.errors import ModelError
from luthier.model.chatglm import is_chatglm
from luthier.model.chatglm_copy import write_glm
from luthier.model.known_tokens import NAMED, added_tokens
from luthier.model.new_tokens import changes_tokens, new_ids, write_changed
from luthier.model.shape import weight_files
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


def adapter_base(recipe: Recipe, told: Told = lambda _: None) -> str | None:
    """The base model that a saved adapter is to name, so that PEFT finds it.

    It is ``model.path``; a ChatGLM3 checkpoint opens in no other program without code of its own, and so it is written
    once into the cache as the GLM model that it is: as many bytes again. The entry's name depends on the files' places,
    sizes and times, so that the same checkpoint gives the same path again after the cache was emptied.

    Raises:
        ModelError: the checkpoint is missing or not one of ChatGLM3's.
        DataError: the cache cannot be written.
    """
    directory = model_directory(recipe)
    if directory is None or not is_chatglm(directory):
        return recipe.model.path
    files = weight_files(directory)
    states = [(path.resolve(), path.stat()) for path in files]
    seen = [f"{path} {state.st_size} {state.st_mtime_ns}" for path, state in states]
    place = entry(recipe.data.cache, "models", content_key([directory / "config.json"], seen, {}))
    with alone(place):
        if not place.is_dir():
            size = sum(state.st_size for _, state in states) / 1e9
            told(f"writing {directory} as a plain GLM model, {size:.1f} GB, for the adapter to name: {place}")
            keep(place, lambda aside: _write_base(directory, files, aside))
    return str(place)


def _write_base(directory: Path, files: list[Path], into: Path) -> None:
    write_glm(directory, files, into)
    if (directory / "tokenizer.model").exists():
        convert_tokenizer(directory, into)


def tokenizer_directory(recipe: Recipe, told: Told = lambda _: None) -> Path:
    """Where the tokenizer lies; it is trained, converted or changed when it has to be and is not in the cache yet.

    Raises:
        ModelError: there is no tokenizer to be had.
    """
    directory = plain_tokenizer_directory(recipe, told)
    if not changes_tokens(recipe.tokenizer):
        return directory
    spec = recipe.tokenizer.model_dump(mode="json", include={*NAMED, "added", "added_special"})
    own = [path for path in sorted(directory.iterdir()) if path.is_file() and "token" in path.name]
    place = entry(recipe.data.cache, "tokenizers", content_key(own, [], spec))
    return _once(place, lambda aside: write_changed(directory, aside, recipe.tokenizer), told)


def plain_tokenizer_directory(recipe: Recipe, told: Told = lambda _: None) -> Path:
    """Where the tokenizer lies without the tokens that the recipe changes or adds.

    Raises:
        ModelError: there is no tokenizer to be had.
    """
    path = trained_tokenizer(recipe)
    if path is not None:
        spec = recipe.tokenizer.train
        assert spec is not None
        begun = f"training a tokenizer of {spec.vocabulary:,} tokens"
        return _once(path, lambda aside: train_tokenizer(texts(recipe, recipe.data.train), spec, aside), told, begun)
    named = recipe.tokenizer.path or recipe.model.path
    if named is None:
        raise ModelError("no tokenizer is named", place="tokenizer", remedy="set tokenizer.path or tokenizer.train")
    directory = local_directory(named, None if recipe.tokenizer.path else recipe.model.revision)
    if (directory / "tokenizer.json").exists():
        return directory
    own = [path for path in sorted(directory.glob("*token*")) if path.is_file()]
    place = entry(recipe.data.cache, "tokenizers", content_key(own, [], {}))
    return _once(place, lambda aside: convert_tokenizer(directory, aside), told)


def rows_added(recipe: Recipe) -> int:
    """Rows of the embeddings for the tokens that the recipe adds to its tokenizer, which is here."""
    if not changes_tokens(recipe.tokenizer):
        return 0
    return len(added_tokens(recipe.tokenizer, plain_tokenizer_directory(recipe)))


def ids_added(recipe: Recipe, tokenizer: Path) -> tuple[int, ...]:
    """The ids of these tokens, in the tokenizer that has them."""
    return new_ids(plain_tokenizer_directory(recipe), tokenizer) if changes_tokens(recipe.tokenizer) else ()


def _once(place: Path, make: Callable[[Path], None], told: Told, begun: str = "") -> Path:
    """A tokenizer's entry in the cache, made if it is not there; of several processes one makes it, the others wait."""
    if not place.is_dir():
        with alone(place, lambda _: told("another process is making the same tokenizer; waiting for it")):
            if not place.is_dir():
                if begun:
                    told(begun)
                keep(place, make)
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
