"""``--model PATH`` and ``--data PATH``: a recipe's model and rows where they lie here, all else unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from luthier.errors import Fault, RecipeError

PARTS = ("train", "evaluate", "test")


def model_words(path: str, tree: dict[str, Any]) -> list[str]:
    """Words that put the model at ``path``; a tokenizer or revision that belonged to the other model goes with it."""
    words = [_word("model.path", path)]
    if _at(tree, "model").get("revision") is not None:
        words.append("model.revision=null")
    if _at(tree, "tokenizer").get("path") is not None and any(Path(path).glob("tokenizer*")):
        words.append("tokenizer.path=null")
    return words


def data_words(path: str, tree: dict[str, Any]) -> list[str]:
    """Words that put each source of rows at ``path``.

    A file holds all rows that the recipe reads. In a folder each source is looked for by the end of its own path, or by
    the name of its data set or split; where there are only rows to train on and none is found so, all of the folder is
    them.

    Raises:
        RecipeError: there is nothing at ``path``, or not all that the recipe reads.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise RecipeError("there is no such file or folder", place=f"--data {path}", remedy="correct the path")
    parts: dict[str, list[dict[str, Any]]] = {
        "train": [{}],
        **{part: given for part in PARTS if (given := _sources(tree, part))},
    }
    if place.is_file():
        return [_word(f"data.{part}", [_moved(given[0], place)]) for part, given in parts.items()]
    found = [(part, one, _found(place, one)) for part, given in parts.items() for one in given]
    lost = [one for _, one, at in found if at is None]
    if lost and list(parts) == ["train"]:
        return [_word("data.train", [_moved(parts["train"][0], place)])]
    if lost:
        raise RecipeError(
            *(
                Fault(
                    f"holds no {' or '.join(dict.fromkeys(_names(one)))}",
                    f"--data {path}",
                    f"put the rows of {one.get('path')} there under one of these names, with a suffix such as .jsonl",
                )
                for one in lost
            )
        )
    return [
        _word(f"data.{part}", [_moved(one, at) for where, one, at in found if where == part and at]) for part in parts
    ]


def _word(key: str, value: Any) -> str:
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def _at(tree: Any, key: str) -> dict[str, Any]:
    value = tree.get(key) if isinstance(tree, dict) else None
    return value if isinstance(value, dict) else {}


def _sources(tree: dict[str, Any], part: str) -> list[dict[str, Any]]:
    given = _at(tree, "data").get(part)
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list | tuple) else []


def _moved(source: dict[str, Any], place: Path) -> dict[str, Any]:
    """The source at another place; a subset and a split are a hub's way of saying where."""
    kept = {key: value for key, value in source.items() if key not in ("name", "split", "files")}
    return {**kept, "path": str(place)}


def _found(folder: Path, source: dict[str, Any]) -> Path | None:
    """Where in the folder the rows of a source lie, or None."""
    for name in _names(source):
        exact = folder / name
        if exact.exists():
            return exact
        beside = sorted(folder.glob(f"{_escaped(name)}.*"))
        if beside:
            return beside[0]
    return None


def _names(source: dict[str, Any]) -> Iterator[str]:
    """What the rows may be called, the longest first: the end of their path, or their split where a hub has them."""
    parts = [part for part in PurePosixPath(str(source.get("path", ""))).parts if part not in ("/", "..", ".")]
    split = source.get("split")
    if isinstance(split, str) and split.isidentifier():
        yield from ("/".join((*parts[start:], split)) for start in range(len(parts)))
    yield from ("/".join(parts[start:]) for start in range(len(parts)))
    if isinstance(split, str) and split.isidentifier():
        yield split


def _escaped(name: str) -> str:
    return "".join(f"[{one}]" if one in "*?[" else one for one in name)
