"""Tokens that a recipe changes or adds: a tokenizer with them, and which rows of the embeddings are new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Fast

from luthier.errors import ModelError
from luthier.model.known_tokens import NAMED
from luthier.model.tokenizer import write_tokenizer
from luthier.recipe.tokenizer import Tokenizer


def changes_tokens(spec: Tokenizer) -> bool:
    """Whether the recipe asks for other tokens than the tokenizer has of itself."""
    return bool(spec.added or spec.added_special or any(getattr(spec, name) is not None for name in NAMED))


def write_changed(source: Path, target: Path, spec: Tokenizer) -> None:
    """Write the tokenizer of ``source`` to ``target`` with the recipe's tokens: those of a name are control tokens,
    and all that the vocabulary lacks get the ids after its last one, in the recipe's order.

    Raises:
        ModelError: ``source`` cannot be read.
    """
    write_tokenizer(source, target, None)
    for name in ("chat_template.jinja", "chat_template.json"):
        if (source / name).exists():
            (target / name).write_bytes((source / name).read_bytes())
    named = {f"{name}_token": token for name in NAMED if (token := getattr(spec, name)) is not None}
    special = [*spec.added_special, *(token for token in named.values() if token not in spec.added_special)]
    try:
        tokenizer = Fast.from_file(str(source / "tokenizer.json"))
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
        tokenizer.add_tokens([AddedToken(token, special=False, normalized=True) for token in spec.added])
        tokenizer.save(str(target / "tokenizer.json"))
    except Exception as error:
        raise ModelError(
            f"its tokenizer.json cannot be read: {error}", place=str(source), remedy="set tokenizer.path"
        ) from error
    _name(target / "tokenizer_config.json", named, tokenizer)
    if (target / "special_tokens_map.json").exists():
        _name(target / "special_tokens_map.json", named, None)


def new_ids(source: Path, target: Path) -> tuple[int, ...]:
    """The ids that the tokenizer of ``target`` has and that of ``source`` has not, ascending."""
    old, new = (set(_vocabulary(folder)) for folder in (source, target))
    return tuple(sorted(new - old))


def _vocabulary(folder: Path) -> list[int]:
    return list(Fast.from_file(str(folder / "tokenizer.json")).get_vocab(with_added_tokens=True).values())


def _name(path: Path, named: dict[str, str], tokenizer: Any) -> None:
    """Write the names into a settings file; an older kind of file also lists every added token by its id."""
    settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    settings |= named
    if tokenizer is not None and "added_tokens_decoder" in settings:
        settings["added_tokens_decoder"] = {
            str(number): {
                "content": token.content,
                "lstrip": token.lstrip,
                "normalized": token.normalized,
                "rstrip": token.rstrip,
                "single_word": token.single_word,
                "special": token.special,
            }
            for number, token in sorted(tokenizer.get_added_tokens_decoder().items())
        }
    path.write_text(json.dumps(settings, ensure_ascii=False, indent=2), encoding="utf-8")
