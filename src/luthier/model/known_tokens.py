"""Which tokens a recipe adds to a tokenizer, told from its tokenizer.json alone."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from luthier.recipe import Recipe
from luthier.recipe.tokenizer import Tokenizer

NAMED = ("bos", "eos", "pad", "unk")


def added_tokens(spec: Tokenizer, directory: Path | None) -> tuple[str, ...]:
    """The tokens of a recipe that the tokenizer of a directory lacks; all of them where none can be read there."""
    named = (getattr(spec, name) for name in NAMED)
    asked = dict.fromkeys([*spec.added_special, *(one for one in named if one is not None), *spec.added])
    path = directory / "tokenizer.json" if directory is not None else None
    if not asked or path is None or not path.is_file():
        return tuple(asked)
    known = _known(path, path.stat().st_mtime_ns)
    return tuple(token for token in asked if token not in known)


def added_before_loading(recipe: Recipe) -> tuple[str, ...]:
    """``added_tokens`` of a recipe whose model and tokenizer nobody has looked for yet: all, unless both lie here."""
    named = None if recipe.tokenizer.train else recipe.tokenizer.path or recipe.model.path
    return added_tokens(recipe.tokenizer, Path(named).expanduser() if named is not None else None)


@lru_cache(maxsize=2)
def _known(path: Path, _changed: int) -> frozenset[str]:
    """Every token of a tokenizer.json: the model's own (a list of pairs in a Unigram's) and those added to it."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        own = tree["model"]["vocab"]
        words = own if isinstance(own, dict) else [word for word, *_ in own]
        return frozenset([*words, *(str(token["content"]) for token in tree.get("added_tokens") or ())])
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()
